"""Kill a restore, and the server under a restore, at random moments: PostgreSQL and MariaDB.

    python3 benchmarks/server_kills.py [KIND] [TIMES] [THOUSANDS_OF_ROWS]

KIND: ``postgresql``, ``within`` (PostgreSQL, for a user who may make no database) or ``mariadb``.

After each SIGKILL, of the process that restores or of the server (which then recovers from the
crash): the database is exactly the old or the new one, the next backup and the next restore work,
and nothing is left beside the database. (Before the next call, a trigger of MariaDB's may be
missing: that is counted.) Half of the moments are around the one in which what comes is put in the
place of what goes: from there on within three tenths of a second.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from soulsense_db import BackupManager
from soulsense_db.errors import BackupError

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

_CHILD = """
import sys, sqlalchemy as sa
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb.swap import Swap as OfMariaDB
from soulsense_db.drivers.postgresql.schema_restore import Ready as Within
from soulsense_db.drivers.postgresql.swap import Swap as OfPostgreSQL

def told(owner, name):
    original = getattr(owner, name)
    def telling(*arguments, **options):
        print("swaps", flush=True)
        return original(*arguments, **options)
    setattr(owner, name, telling)

told(OfMariaDB, "run")
told(OfPostgreSQL, "alone")
told(Within, "commit")
manager = BackupManager(sa.create_engine(sys.argv[1]), sys.argv[2])
print("ready", flush=True)
manager.restore(sys.argv[3])
"""
_START_SECONDS = 60.0
_SWAP_SECONDS = 0.3
_NO_TRIGGER = "a trigger is missing until the next call"


class Server(Protocol):
    """What is the same of both: a private server that can be killed and started again."""

    bin_of_kind: str

    def url(self) -> str:
        """Return the URL of the database."""

    def kill(self) -> None:
        """Kill the server's process."""

    def start(self) -> None:
        """Start it, and wait until it has recovered."""

    def remove(self) -> None:
        """Stop it, and remove its folder."""

    def leftovers(self) -> list[str]:
        """Return the databases that are there beside the one of the application."""

    def dump(self, target: Path) -> list[str]:
        """Return the command with which the tool alone writes a dump."""


class PostgreSQL:
    """Version 18, or the newest that is installed."""

    bin_of_kind = "postgresql"

    def __init__(self) -> None:
        from postgresql.server import Server as Private
        from postgresql.server import versions

        self._server = Private(max(versions()))
        os.environ["PATH"] = f"{self._server.bin}{os.pathsep}{os.environ['PATH']}"
        execute(self._server.url("postgres"), "CREATE DATABASE bench")

    def url(self) -> str:
        """Return the URL of the database."""
        return self._server.url("bench")

    def kill(self) -> None:
        """Kill the postmaster; its children end when they notice."""
        number = int((self._server.data / "postmaster.pid").read_text().split()[0])
        children = _children_of(number)
        os.kill(number, signal.SIGKILL)
        deadline = time.monotonic() + _START_SECONDS
        while children := [one for one in children if one.exists()]:
            assert time.monotonic() < deadline
            time.sleep(0.01)  # nothing tells of the end of a process that is not a child

    def start(self) -> None:
        """Start it."""
        self._server.start()

    def remove(self) -> None:
        """Stop it, and remove its folder."""
        self._server.remove()

    def leftovers(self) -> list[str]:
        """Return the databases that are there beside those of the application and of an undo."""
        asked = (
            "SELECT datname FROM pg_database WHERE coalesce("
            """shobj_description(oid, 'pg_database'), '') NOT LIKE '%"role":"kept"%'"""
        )
        found = _column(self._server.url("postgres"), asked)
        return sorted(set(found) - {"bench", "postgres", "template0", "template1"})

    def dump(self, target: Path) -> list[str]:
        """Return the command with which the tool alone writes a dump."""
        login = f"--host={self._server.socket}", "--username=postgres"
        return [
            str(self._server.bin / "pg_dump"),
            "-Fc",
            "-Z0",
            *login,
            f"--file={target}",
            "bench",
        ]

    def fill(self, thousands: int) -> None:
        """Make tables with rows, a view and a trigger."""
        execute(
            self.url(),
            "CREATE TABLE a (id integer PRIMARY KEY, v text, filler text)",
            "CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a, v text)",
            "CREATE TABLE seen (id serial PRIMARY KEY, v text)",
            "INSERT INTO a SELECT n, 'old', repeat(md5(n::text), 3)"
            f" FROM generate_series(1, {thousands * 1000}) AS n",
            f"INSERT INTO b SELECT n, n, 'old' FROM generate_series(1, {thousands * 100}) AS n",
            "CREATE VIEW both_of AS SELECT a.id, a.v, b.v AS w FROM a JOIN b ON b.a = a.id",
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO seen (v) VALUES (NEW.v); RETURN NEW; END $$",
            "CREATE TRIGGER noted AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION note()",
            "CREATE INDEX a_v ON a (v)",
        )


class Within(PostgreSQL):
    """The same for a user who may make no database: schemas are replaced."""

    bin_of_kind = "within"

    def __init__(self) -> None:
        super().__init__()
        execute(
            self._server.url("postgres"),
            "CREATE ROLE bench LOGIN",
            "ALTER DATABASE bench OWNER TO bench",
        )

    def url(self) -> str:
        """Return the URL of the database."""
        return self._server.url("bench", user="bench")

    def leftovers(self) -> list[str]:
        """Return the schemas beside that of the application, unless they are to be copied."""
        asked = (
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND NOT EXISTS ("
            "SELECT FROM pg_namespace n WHERE starts_with(pg_namespace.nspname, n.nspname)"
            """ AND obj_description(n.oid, 'pg_namespace') LIKE '{"purpose": "{%')"""
        )
        return sorted(set(_column(self.url(), asked)) - {"information_schema", "public"})


class MariaDB:
    """The version that is installed."""

    bin_of_kind = "mariadb"

    def __init__(self) -> None:
        from mariadb_driver.server import Server as Private

        self._server = Private()
        execute(self._server.url("mysql"), "CREATE DATABASE bench")

    def url(self) -> str:
        """Return the URL of the database."""
        return self._server.url("bench")

    def kill(self) -> None:
        """Kill mariadbd."""
        self._server.stop(kill=True)

    def start(self) -> None:
        """Start it."""
        self._server.start()

    def remove(self) -> None:
        """Stop it, and remove its folder."""
        self._server.remove()

    def leftovers(self) -> list[str]:
        """Return the databases that are there beside those of the application and of an undo."""
        asked = (
            "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME = 'soulsense_kept'"
        )
        kept = [
            f"{one}{end}"
            for one in _column(self._server.url("mysql"), asked)
            for end in ("", "_old")
        ]
        found = _column(self._server.url("mysql"), "SHOW DATABASES")
        own = {"bench", "information_schema", "mysql", "performance_schema", "sys", *kept}
        return sorted(set(found) - own)

    def dump(self, target: Path) -> list[str]:
        """Return the command with which the tool alone writes a dump."""
        login = f"--socket={self._server.socket}", "--user=root"
        parts = "--single-transaction", "--routines", "--triggers", "--events"
        return ["mariadb-dump", *login, *parts, f"--result-file={target}", "bench"]

    def fill(self, thousands: int) -> None:
        """Make tables with rows, a view, a routine, an event and a trigger."""
        execute(
            self.url(),
            "CREATE TABLE a (id INT PRIMARY KEY, v TEXT, filler TEXT)",
            "CREATE TABLE b (id INT PRIMARY KEY, a INT, v TEXT, FOREIGN KEY (a) REFERENCES a (id))",
            "CREATE TABLE seen (id INT PRIMARY KEY AUTO_INCREMENT, v TEXT)",
            "INSERT INTO a SELECT seq, 'old', REPEAT(MD5(seq), 3)"
            f" FROM seq_1_to_{thousands * 1000}",
            f"INSERT INTO b SELECT seq, seq, 'old' FROM seq_1_to_{thousands * 100}",
            "CREATE VIEW both_of AS SELECT a.id, a.v, b.v AS w FROM a JOIN b ON b.a = a.id",
            "CREATE PROCEDURE p() SELECT 1",
            "CREATE TRIGGER noted AFTER INSERT ON a FOR EACH ROW"
            " INSERT INTO seen (v) VALUES (NEW.v)",
            "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO DELETE FROM a WHERE id < 0",
        )


KINDS = {one.bin_of_kind: one for one in (PostgreSQL, Within, MariaDB)}


def _children_of(number: int) -> list[Path]:
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((one / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == number:
            found.append(one)
    return found


def execute(url: str, *statements: str) -> None:
    """Execute statements, each in a transaction of its own."""
    engine = sa.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def _column(url: str, statement: str) -> list[str]:
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return [str(one) for one in connection.scalars(sa.text(statement))]


_STATE = (
    "SELECT DISTINCT v FROM a",
    "SELECT DISTINCT v FROM b",
    "SELECT COUNT(*) FROM a",
    "SELECT COUNT(*) FROM b",
    "SELECT COUNT(*) FROM both_of",
)


def _state(url: str, thousands: int) -> str:
    """Return ``old`` or ``new``, if a trigger notes a write; else what is there."""
    count = "SELECT COUNT(*) FROM seen"
    before = int(_column(url, count)[0])
    try:
        execute(url, "INSERT INTO a VALUES (-1, 'x', '')", "DELETE FROM a WHERE id = -1")
    except DBAPIError as error:
        return f"no write: {error.orig}"
    noted = int(_column(url, count)[0]) == before + 1
    found = [one for asked in _STATE for one in _column(url, asked)]
    for value in ("old", "new"):
        if found == [
            *(value, value, str(thousands * 1000)),
            *(str(thousands * 100), str(thousands * 100)),
        ]:
            return value if noted else f"{value}, {_NO_TRIGGER}"
    return f"NEITHER {found}"


def _make_new(url: str) -> None:
    execute(url, "UPDATE a SET v = 'new'", "UPDATE b SET v = 'new'")


def _restoring(url: str, folder: Path, name: str) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, url, str(folder), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    return child


def _wait_for_a_moment(
    child: subprocess.Popen[bytes], rng: random.Random, number: int, whole: float
) -> None:
    if number % 2:
        time.sleep(rng.uniform(0, whole))  # any moment of it
        return
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(rng.uniform(0, _SWAP_SECONDS))  # any moment around the swap


def measure(server: PostgreSQL | MariaDB, folder: Path, times: int, thousands: int) -> None:
    """Kill, look, count."""
    server.fill(thousands)
    url = server.url()
    engine = sa.create_engine(url, poolclass=NullPool)
    manager = BackupManager(engine, folder)
    good = manager.create("good")
    rng = random.Random(16)
    for what in ("the tool", "the server"):
        _make_new(url)
        child = _restoring(url, folder, good.filename)
        begun = time.perf_counter()
        _, said = child.communicate()
        assert child.returncode == 0, said.decode()
        whole = time.perf_counter() - begun
        seen: Counter[str] = Counter()
        done = tries = 0
        while done < times:
            _make_new(url)
            child = _restoring(url, folder, good.filename)
            _wait_for_a_moment(child, rng, tries, whole)
            tries += 1
            if what == "the tool":
                child.kill()
                child.communicate()
                was_killed = child.returncode == -signal.SIGKILL
            else:
                was_killed = child.poll() is None
                server.kill()
                server.start()
                _, said = child.communicate()
                if b"Traceback" in said and b"soulsense_db.errors" not in said:
                    print(said.decode())
                if was_killed and child.returncode == 0:
                    seen["(and the restore went on to its end)"] += 1
            state = _state(url, thousands)
            seen[state] += was_killed
            done += was_killed
            after = _next_call(manager, lambda: manager.create("next"))
            assert server.leftovers() == [], server.leftovers()
            same = _state(url, thousands)
            assert same == state.removesuffix(f", {_NO_TRIGGER}"), f"{state} became {same}"
            after += _next_call(manager, lambda: manager.restore(good))
            assert _state(url, thousands) == "old"
            assert server.leftovers() == [], server.leftovers()
            if after:
                seen[after] += 1
            print(f"{server.bin_of_kind}, {what} {done}/{times}: {state}{after}", flush=True)
        print(f"{server.bin_of_kind}, kills of {what}: {dict(seen)}; {whole:.1f} s a restore")


def _next_call(manager: BackupManager, call: Callable[[], object]) -> str:
    del manager
    try:
        call()
    except BackupError as error:
        return f", THE NEXT CALL FAILED: {type(error).__name__} {error}"
    return ""


def main() -> None:
    """Measure one kind, or all."""
    arguments = sys.argv[1:]
    kinds = [one for one in arguments if not one.isdigit()] or list(KINDS)
    times, thousands, *_ = [*(int(one) for one in arguments if one.isdigit()), 20, 200][:2]
    for kind in kinds:
        server = KINDS[kind]()
        folder = Path(tempfile.mkdtemp())
        try:
            measure(server, folder, times, thousands)
        finally:
            server.remove()
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
