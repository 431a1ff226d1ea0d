"""One of many processes that work on a database at once, each doing what it likes.

Run with the folder of ``app.db``, a seed, and for how many seconds. It writes ``ready``, waits for
a line, and in the end writes a line of JSON: ``counts`` by action and outcome, ``violations``, and
the ids of the backups that it ``made``, and that it had to go (``gone``).
"""

from __future__ import annotations

import faulthandler
import json
import random
import sqlite3
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from soulsense_db import BackupInfo, BackupManager, RetentionPolicy
from soulsense_db.drivers.sqlite import pages
from soulsense_db.errors import (
    BackupNotFoundError,
    DatabaseLockedError,
    DirectoryLockedError,
    NothingToUndoError,
    ProtectedBackupError,
)

# How long after the end of its time a process may still wait for locks.
PATIENCE = 60
_LOCK_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do, how often compared with others, and with which errors it may end."""

    run: Callable[[Member], object]
    weight: int
    errors: tuple[type[Exception], ...]


class Member:
    """One process of the crowd."""

    def __init__(self, folder: Path, seed: str) -> None:
        self.live = folder / "app.db"
        self.random = random.Random(seed)
        self.manager = BackupManager(
            sa.create_engine(f"sqlite:///{self.live}"), lock_timeout=_LOCK_TIMEOUT
        )
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.made: list[str] = []
        self.gone: list[str] = []

    def work(self, seconds: float) -> None:
        """Do things until the time is over."""
        deadline = time.monotonic() + seconds
        weights = [action.weight for action in ACTIONS.values()]
        while time.monotonic() < deadline:
            (name,) = self.random.choices(list(ACTIONS), weights)
            outcome = "done"
            try:
                ACTIONS[name].run(self)
            except Exception as error:  # noqa: BLE001 - judged here
                outcome = type(error).__name__
                if not isinstance(error, ACTIONS[name].errors):
                    self.violations.append(f"{name}: {error}\n{traceback.format_exc()}")
            self.counts[f"{name}: {outcome}"] += 1

    def create(self) -> None:
        """Make a backup."""
        made = self.manager.create(f"by {self.random.randint(1, 3)}")
        self.made.append(made.id)
        self._require(made.sha256, "a backup was made without a checksum")

    def delete(self) -> None:
        """Delete any backup."""
        if info := self._any():
            self.manager.delete(info)
            self.gone.append(info.id)

    def prune(self) -> None:
        """Remove old backups."""
        report = self.manager.prune(RetentionPolicy(keep_last=self.random.randint(1, 4)))
        self.gone += [decision.backup.id for decision in report.removed]

    def look(self) -> None:
        """Verify what is listed: all of it is whole, or gone meanwhile."""
        for info in self.manager.list():
            try:
                report = self.manager.verify(info, level="full")
            except BackupNotFoundError:
                continue
            self._require(report.checksum, f"listed without meta file: {info}")
            self._require(not info.meta_problem, f"listed with a bad one: {info}")

    def restore(self) -> None:
        """Restore any backup."""
        if info := self._any():
            self.manager.restore(info)

    def undo(self) -> None:
        """Undo the last restore."""
        self.manager.undo_restore()

    def write(self) -> None:
        """Commit rows as an application does, keeping the invariant of both tables."""
        try:
            with closing(sqlite3.connect(self.live, timeout=_LOCK_TIMEOUT)) as live, live:
                live.execute("BEGIN IMMEDIATE")
                live.execute("INSERT INTO child (parent_id, amount, body) VALUES (3, 5, 'new')")
                live.execute("UPDATE parent SET total = total + 5 WHERE id = 3")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise DatabaseLockedError(str(error)) from error

    def _any(self) -> BackupInfo | None:
        listed = self.manager.list()
        return self.random.choice(listed) if listed else None

    def _require(self, holds: object, what: str) -> None:
        if not holds:
            self.violations.append(what)


_LOCKS = (DatabaseLockedError, DirectoryLockedError)
ACTIONS = {
    "create": Action(Member.create, 3, _LOCKS),
    "delete": Action(Member.delete, 2, (*_LOCKS, BackupNotFoundError, ProtectedBackupError)),
    "prune": Action(Member.prune, 1, _LOCKS),
    "list and verify": Action(Member.look, 2, _LOCKS),
    "restore": Action(Member.restore, 3, (*_LOCKS, BackupNotFoundError)),
    "undo": Action(Member.undo, 1, (*_LOCKS, NothingToUndoError)),
    "write rows": Action(Member.write, 4, _LOCKS),
}


def main(folder: str, seed: str, seconds: str) -> None:
    """Be one of the crowd."""
    faulthandler.dump_traceback_later(float(seconds) + PATIENCE, exit=True)
    pages._STEP_PAGES = 3  # the more steps, the more there is in between
    member = Member(Path(folder), seed)
    print("ready", flush=True)  # noqa: T201 - the protocol
    sys.stdin.readline()
    member.work(float(seconds))
    told = {name: getattr(member, name) for name in ("counts", "violations", "made", "gone")}
    print(json.dumps(told))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
