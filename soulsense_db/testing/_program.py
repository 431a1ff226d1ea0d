"""Another program that uses the same database: it obeys commands, one a line, from its input.

The first line is the database's URL, each other one a method of :class:`Program` and its arguments,
all in JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

ADD = sa.text("INSERT INTO soulsense_notes (body) VALUES (:body)")
TAKE = sa.text("UPDATE soulsense_accounts SET amount = amount - 1 WHERE id = 1")
GIVE = sa.text("UPDATE soulsense_accounts SET amount = amount + 1 WHERE id = 2")
KILLED = 9
_PAUSE_SECONDS = 0.001  # some databases let nobody in beside a writer without one
READ = sa.text("SELECT body FROM soulsense_notes ORDER BY id")


class Program:
    """What the other program can be told to do."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = sa.create_engine(url)
        self._held: sa.Connection | None = None
        self._stop = threading.Event()
        self._writing: threading.Thread | None = None
        self._commits = 0

    def bodies(self) -> list[str] | None:
        """Return the texts of all notes; None where its connection was ended."""
        try:
            with self._engine.connect() as connection:
                return list(connection.scalars(READ))
        except sa.exc.OperationalError as error:
            if not error.connection_invalidated:
                raise
            return None

    def add(self, body: str) -> bool:
        """Commit a note; False where it is locked out."""
        try:
            with self._engine.begin() as connection:
                connection.execute(ADD, {"body": body})
        except sa.exc.OperationalError:
            return False
        return True

    def hold(self, body: str) -> None:
        """Write a note and do not commit it."""
        self._held = self._engine.connect()
        self._held.execute(ADD, {"body": body})

    def let_go(self) -> None:
        """Take back what was held, if its connection has not been ended."""
        if self._held is not None:
            with suppress(sa.exc.OperationalError):
                self._held.close()

    def start_writing(self) -> None:
        """Move money from one account to the other again and again, in a transaction each time."""
        begun = threading.Event()
        self._writing = threading.Thread(target=self._write, args=(begun,))
        self._writing.start()
        begun.wait()

    def stop_writing(self) -> int:
        """Stop that, and return how often it was done."""
        self._stop.set()
        if self._writing is not None:
            self._writing.join()
        return self._commits

    def _write(self, begun: threading.Event) -> None:
        with self._engine.connect() as connection:
            while not self._stop.wait(_PAUSE_SECONDS):
                try:
                    connection.execute(TAKE)
                    connection.execute(GIVE)
                    connection.commit()
                    self._commits += 1
                    begun.set()
                except sa.exc.OperationalError:  # locked out for a while
                    connection.rollback()

    def die_while_loading(self, backup: str) -> None:
        """Load a backup, and be gone at its first report."""
        from soulsense_db.drivers import driver_for, engine_for

        driver = driver_for(engine_for(self._url), lock_timeout=5)
        driver.load(Path(backup), progress=lambda *_: os._exit(KILLED))


def main() -> None:
    """Obey until the input ends."""
    program = Program(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        answer: Any = getattr(program, command)(*arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
