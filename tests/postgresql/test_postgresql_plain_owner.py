"""A user who may not make databases restores within the live one, in one transaction."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic_project import DOORS, FIRST, Project
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from postgresql.newest import on_newest
from postgresql.owned import Owned, backed_up, dumped, rows, with_notes
from postgresql.projects import project_on
from postgresql.server import Server
from postgresql.test_postgresql_rights import statements
from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationRefusedError
from soulsense_db.drivers.postgresql.schema_restore import Ready
from soulsense_db.drivers.postgresql.statements import WITHOUT_KEPT
from soulsense_db.drivers.results import WriteLock
from soulsense_db.errors import (
    DatabaseLockedError,
    InvalidBackupError,
    MissingRightError,
    ServerToolError,
    UnsupportedDatabaseError,
)
from soulsense_db.notices import WAITING
from soulsense_db.testing import DriverSuite, Live
from soulsense_db.testing.live import CancelledError

pytestmark = on_newest

RESTORE = """
import sys, sqlalchemy as sa
from soulsense_db import BackupManager
manager = BackupManager(sa.create_engine(sys.argv[1]), sys.argv[2], tools=sys.argv[3])
print("now", flush=True)
manager.restore("latest")
"""
CUTS = 3


ODD, PLAIN = '"Odd name"', "of_notes"
in_both_ways = pytest.mark.parametrize("shop", [ODD, PLAIN], indirect=True)
"""A schema whose name needs quotes is dropped once it is replaced, another one is kept."""


@pytest.fixture
def shop(
    request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Owned]:
    """Return a database with two rows in each of two schemas."""
    second = getattr(request, "param", ODD)
    with with_notes(
        server,
        monkeypatch,
        f"CREATE SCHEMA {second}",
        f'CREATE TABLE {second}.of_note (id int REFERENCES note, "n%%" int)',
        f"INSERT INTO {second}.of_note VALUES (1, 1), (2, 2)",
        f"CREATE VIEW both_tables AS SELECT * FROM note JOIN {second}.of_note USING (id)",
        "CREATE FUNCTION upper_body() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.body = upper(NEW.body); RETURN NEW; END $$",
        "CREATE TRIGGER upper_body BEFORE UPDATE ON note FOR EACH ROW"
        " EXECUTE FUNCTION upper_body()",
        "CREATE TYPE mood AS ENUM ('fine', 'bad')",
        "CREATE TABLE day (at date, mood mood, PRIMARY KEY (at)) PARTITION BY RANGE (at)",
        "CREATE TABLE day_26 PARTITION OF day FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "INSERT INTO day VALUES ('2026-11-28', 'fine')",
        "CREATE MATERIALIZED VIEW moods AS SELECT mood, count(*) FROM day GROUP BY mood",
        second=second,
    ) as made:
        yield made


@pytest.fixture
def manager(shop: Owned, tmp_path: Path) -> BackupManager:
    """Return a manager of a database that has a third row since its backup."""
    made = backed_up(shop, tmp_path)
    shop.execute("CREATE TABLE later (id int)")
    return made


class TestPlainOwner(DriverSuite):
    """What every driver promises, but for what needs a scratch database."""

    has_file = False

    def test_a_damaged_backup_is_found(self, live: Live) -> None:
        """By all but the quickest look; to import what is not a whole backup needs more rights."""
        path, _ = live.snapshot()
        self.damage(path)
        for level in ("pages", "full"):
            with pytest.raises(InvalidBackupError):
                live.driver.check(path, level=level)
        with pytest.raises(MissingRightError):
            live.driver.copy_file(path, live.new_file("target"))

    @pytest.fixture(autouse=True)
    def _on(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
        self._server = server

    def make_engine(self, folder: Path) -> Engine:
        """Make a new database."""
        del folder
        self._database = Owned(self._server).__enter__()
        return self._database.engine

    def remove(self, engine: object) -> None:
        """Drop it."""
        del engine
        self._database.__exit__()

    def url(self, engine: object) -> str:
        """Return a URL by which a writer that is locked out gives up soon."""
        del engine
        url = sa.make_url(self._database.url)
        url = url.update_query_dict({"options": "-clock_timeout=300ms"})
        return url.render_as_string(hide_password=False)


@in_both_ways
def test_all_comes_back_and_goes_again(shop: Owned, manager: BackupManager) -> None:
    """A restore leaves what was backed up, an undo what was there, whatever is in the schemas."""
    later = dumped(shop)
    check = manager.can_restore("latest")
    assert check.ok
    waits = any("writers wait while the safety backup" in one for one in check.warnings)
    assert waits == (shop.second == ODD)
    report = manager.restore("latest")
    assert (report.verified, report.warnings) == (True, ())
    restored = dumped(shop)
    assert "later" not in restored
    assert "INSERT" not in restored  # it is COPY, so that the comparison below is of rows
    assert rows(shop) == 2
    manager.undo_restore()
    assert dumped(shop) == later
    manager.undo_restore()
    assert dumped(shop) == restored
    shop.execute("UPDATE note SET body = 'x'")
    assert shop.scalar("SELECT min(body) FROM note") == "X"


@in_both_ways
def test_no_commit_is_lost(shop: Owned, manager: BackupManager) -> None:
    """What a writer committed is in the safety backup, or comes after the restore."""
    engine = sa.create_engine(shop.url)
    written: list[int] = []
    stopped = threading.Event()

    def write() -> None:
        number = 100
        while not stopped.is_set():
            number += 1
            with engine.begin() as connection:
                connection.exec_driver_sql(f"INSERT INTO note VALUES ({number}, 'w')")
                connection.exec_driver_sql(f"INSERT INTO {shop.second}.of_note VALUES ({number})")
            written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(written) < 20:
            time.sleep(0.01)
        manager.restore("latest")
        after = len(written)
        while len(written) < after + 20:
            time.sleep(0.01)
    finally:
        stopped.set()
        writer.join()
        engine.dispose()
    here = _numbers(shop)
    manager.undo_restore()
    assert sorted({*here, *_numbers(shop)} - {1, 2, 3}) == written
    assert not set(here) & set(_numbers(shop)) - {1, 2}


def _numbers(shop: Owned) -> list[int]:
    asked = f"SELECT array_agg(note.id) FROM note LEFT JOIN {shop.second}.of_note AS o USING (id)"
    return list(shop.scalar(f"{asked} WHERE note.id < 100 OR o.id IS NOT NULL"))


@in_both_ways
@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "crash"])
def test_a_restore_is_cut_off_anywhere(
    shop: Owned, manager: BackupManager, tmp_path: Path, how: str
) -> None:
    """Of the program or the server: the old or the new, nothing else, and nothing is left."""
    backup = manager.list()[0]
    new = ""
    longest = 0.0
    moments = random.Random(16)
    arguments = [sys.executable, "-c", RESTORE, shop.url, str(tmp_path / "backups")]
    for number in range(CUTS + 1):
        old = dumped(shop)
        command = [*arguments, str(shop.server.bin)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with child.stdout or pytest.fail() as output:
            output.readline()
            began = time.monotonic()
            if not longest:  # the first one tells how long it takes
                child.wait()
                longest = time.monotonic() - began
                new = dumped(shop)
                assert old != new
                manager.undo_restore()
                assert dumped(shop) == old
                continue
            # Any moment will do: one of each part of it, so that they are not all in the first.
            threading.Event().wait(longest * (number - moments.random()) / CUTS)
            if how == "kill":
                child.kill()
            else:
                shop.server.stop("immediate")
                shop.server.start()
            child.wait()
        shop.engine.dispose()
        shop.wait_for_killed()
        if dumped(shop, WITHOUT_KEPT) == new:  # perhaps before the safety backup was written
            manager.undo_restore()
        assert dumped(shop) == old
    manager.restore(backup)
    assert dumped(shop) == new


def test_a_transaction_that_stays_open_holds_it_up(shop: Owned, tmp_path: Path) -> None:
    """After the lock timeout it is an error with nothing changed, and no lock stays behind."""
    manager = BackupManager(shop.engine, tmp_path / "backups", lock_timeout=0.5)
    manager.create()
    shop.execute("INSERT INTO note (body) VALUES ('three')")
    other = sa.create_engine(shop.url, poolclass=NullPool)
    for statement in ("SELECT * FROM note", "UPDATE note SET body = 'x' WHERE id = 1"):
        with other.connect() as connection:
            connection.exec_driver_sql(statement)
            with pytest.raises(DatabaseLockedError, match="Nothing was changed"):
                manager.restore("latest")
        assert rows(shop) == 3
        assert manager.safety_backup() is None
        shop.execute("UPDATE note SET body = 'y' WHERE id = 2")


def test_a_wait_for_somebody_is_told(
    shop: Owned, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After a second a person reads what a restore waits for, once."""
    manager = BackupManager(shop.engine, tmp_path / "backups", lock_timeout=2)
    manager.create()
    other = sa.create_engine(shop.url, poolclass=NullPool)
    with caplog.at_level("INFO", logger=WAITING), other.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM note")
        with pytest.raises(DatabaseLockedError):
            manager.restore("latest")
    said = [record.getMessage() for record in caplog.records if record.name == WAITING]
    assert said == [f"Waiting for other transactions in {manager.live.name} to end..."]


def test_a_table_that_is_made_meanwhile_is_not_lost(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lock keeps somebody from making one: another safety backup is made, which has it."""
    lock = Ready.lock
    made: list[bool] = []

    def lock_and_make(ready: Ready) -> None:
        lock(ready)
        if not made:
            made.append(True)
            shop.execute("CREATE TABLE meanwhile AS SELECT 1 AS id")

    monkeypatch.setattr(Ready, "lock", lock_and_make)
    manager.restore("latest")
    assert rows(shop) == 2
    assert "meanwhile" not in dumped(shop)
    manager.undo_restore()
    assert rows(shop) == 3
    assert shop.scalar("SELECT count(*) FROM meanwhile") == 1


def test_who_makes_tables_again_and_again_holds_a_restore_up(
    shop: Owned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The restore gives way: none of these tables is in no backup."""
    manager = BackupManager(shop.engine, tmp_path / "backups", lock_timeout=2)
    manager.create()
    lock = Ready.lock
    made: list[int] = []

    def lock_and_make(ready: Ready) -> None:
        lock(ready)
        made.append(len(made))
        shop.execute(f"CREATE TABLE meanwhile_{len(made)} (id int)")

    monkeypatch.setattr(Ready, "lock", lock_and_make)
    with pytest.raises(DatabaseLockedError):
        manager.restore("latest")
    monkeypatch.undo()
    assert all(shop.scalar(f"SELECT count(*) FROM meanwhile_{one + 1}") == 0 for one in made)
    assert rows(shop) == 2
    manager.create()


def at_the_last_moment(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    """Have ``work`` done once the safety backup is there, before the restore is committed."""
    commit = Ready.commit

    def commit_after(ready: Ready, write_lock: WriteLock | None, *, keeps: str | None) -> None:
        work()
        commit(ready, write_lock, keeps=keeps)

    monkeypatch.setattr(Ready, "commit", commit_after)


MEANWHILE = {
    "a schema": "CREATE SCHEMA fresh; CREATE TABLE fresh.of_mood (id int, mood mood);"
    " INSERT INTO fresh.of_mood VALUES (1, 'fine');"
    " CREATE VIEW fresh.notes AS SELECT * FROM public.note",
    "another view": "CREATE OR REPLACE VIEW both_tables AS"
    ' SELECT * FROM note JOIN "Odd name".of_note USING (id) WHERE id > 1',
    "a view's name": "ALTER VIEW both_tables RENAME TO all_tables",
    "a view's rights": "GRANT SELECT ON both_tables TO PUBLIC",
    "a view's comment": "COMMENT ON VIEW both_tables IS 'of notes'",
    "a schema's comment": """COMMENT ON SCHEMA "Odd name" IS 'odd'""",
    "a value of a type": "ALTER TYPE mood ADD VALUE 'so-so'",
    "a check of a domain": "ALTER DOMAIN even ADD CHECK (value % 2 = 0)",
    "another function": "CREATE OR REPLACE FUNCTION upper_body() RETURNS trigger"
    " LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    "no function": "DROP FUNCTION one()",
    "a collation": "CREATE COLLATION plain (locale = 'C')",
    "a text search": "CREATE TEXT SEARCH CONFIGURATION words (copy = simple)",
    "a token of a text search": "ALTER TEXT SEARCH CONFIGURATION old_words"
    " ALTER MAPPING FOR word WITH english_stem",
    "an operator": "CREATE OPERATOR |+| (leftarg = int, rightarg = int, function = int4pl)",
    "default privileges": "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
    " GRANT SELECT ON TABLES TO PUBLIC",
}


@in_both_ways
@pytest.mark.parametrize("what", MEANWHILE)
def test_what_is_committed_during_the_safety_backup_is_not_lost(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """No lock keeps anybody from it: where the safety backup has not got it, another one is made.

    Where that is written of what is kept, it has it. Also what is in a schema that was not there
    when the restore began.
    """
    shop.execute(
        "CREATE DOMAIN even AS int",
        "CREATE FUNCTION one() RETURNS int RETURN 1",
        "CREATE TEXT SEARCH CONFIGURATION old_words (copy = simple)",
    )
    states = [dumped(shop)]

    def work() -> None:
        if len(states) > 1:
            return  # it is the undo
        with shop.engine.begin() as connection:
            connection.execution_options(no_parameters=True).exec_driver_sql(
                MEANWHILE[what].replace(ODD, shop.second)
            )
        states.append(dumped(shop))

    at_the_last_moment(monkeypatch, work)
    manager.restore("latest")
    assert dumped(shop) != states[-1]
    manager.undo_restore()
    before, after = states
    assert before != after
    assert dumped(shop) == after


@in_both_ways
def test_a_sequence_waits_as_a_table_does(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No number that somebody sets or takes is lost: he waits until all is restored."""
    shop.execute("CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY)")
    refused: list[str] = []

    def work() -> None:
        if refused:
            return  # it is the undo, of another sequence
        for asked in ("setval('note_id_seq', 1000)", "nextval('numbered_id_seq')"):
            with shop.engine.connect() as connection:
                connection.exec_driver_sql("SET lock_timeout = '200ms'")
                with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
                    connection.exec_driver_sql(f"SELECT {asked}")
            refused.append(asked)

    at_the_last_moment(monkeypatch, work)
    later = dumped(shop)
    manager.restore("latest")
    assert len(refused) == 2
    manager.undo_restore()
    assert dumped(shop) == later


@in_both_ways
def test_statistics_and_temporary_tables_do_not_hold_it_up(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server writes on its own, and what is in no backup, is no commit to look for."""
    administrator = sa.create_engine(
        shop._administrator.url, isolation_level="AUTOCOMMIT", poolclass=NullPool
    )

    def work() -> None:
        with administrator.connect() as connection:
            catalogs = ", ".join(f"pg_{one}" for one in ("class", "attribute", "proc", "type"))
            connection.exec_driver_sql(f"VACUUM (FREEZE, ANALYZE) {catalogs}")
            connection.exec_driver_sql("VACUUM (FREEZE, ANALYZE) moods")
            connection.exec_driver_sql("ANALYZE moods")
        shop.execute(
            "CREATE TEMP TABLE seen (id serial PRIMARY KEY, mood text CHECK (mood <> ''))",
            "CREATE INDEX ON seen (mood)",
            "CREATE TEMP VIEW seen_too AS SELECT * FROM seen",
            "INSERT INTO seen (mood) VALUES ('fine')",
        )

    at_the_last_moment(monkeypatch, work)
    manager.restore("latest")
    assert rows(shop) == 2


@in_both_ways
def test_a_schema_that_is_made_during_the_restore_is_replaced_too(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the safety backup with all its columns: an undo brings it back."""
    make_room = Ready.make_room

    def make_room_and_schema(ready: Ready, schemas: tuple[str, ...]) -> None:
        make_room(ready, schemas)
        if manager.safety_backup() is None:
            shop.execute(*MEANWHILE["a schema"].split(";"))

    monkeypatch.setattr(Ready, "make_room", make_room_and_schema)
    manager.restore("latest")
    assert shop.scalar("SELECT to_regnamespace('fresh')") is None
    assert rows(shop) == 2
    manager.undo_restore()
    assert shop.scalar("SELECT mood FROM fresh.of_mood") == "fine"
    assert shop.scalar("SELECT count(*) FROM fresh.notes") == rows(shop) == 3


def _prepare_function(shop: Owned) -> None:
    with shop.engine.connect() as connection:
        connection.exec_driver_sql("CREATE FUNCTION fresh() RETURNS int RETURN 1")
        connection.exec_driver_sql("PREPARE TRANSACTION 'held'")


def _commit_prepared(shop: Owned) -> None:
    engine = sa.create_engine(shop.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("COMMIT PREPARED 'held'")


def test_a_prepared_transaction_is_refused(shop: Owned, manager: BackupManager) -> None:
    """It has no session, and what it made would be in no schema once it is committed."""
    _prepare_function(shop)
    try:
        with pytest.raises(UnsupportedDatabaseError, match="a prepared transaction") as caught:
            manager.restore("latest")
        assert [type(one) for one in manager.can_restore("latest").problems] == [type(caught.value)]
        assert "COMMIT PREPARED" in caught.value.hint
    finally:
        _commit_prepared(shop)
    assert shop.scalar("SELECT fresh()") == 1
    manager.create()


def test_a_transaction_that_is_prepared_meanwhile_holds_it_up(
    shop: Owned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that stays open."""
    manager = BackupManager(shop.engine, tmp_path / "backups", lock_timeout=0.5)
    manager.create()
    at_the_last_moment(monkeypatch, lambda: _prepare_function(shop))
    try:
        with pytest.raises(DatabaseLockedError, match="Nothing was changed"):
            manager.restore("latest")
    finally:
        _commit_prepared(shop)
    assert shop.scalar("SELECT fresh()") == 1
    manager.create()


def test_odd_names_come_back(shop: Owned, tmp_path: Path) -> None:
    """Of tables, schemas and sequences, as a list of names would be written."""
    shop.execute(
        'CREATE TABLE "a, b" (id serial)',
        'CREATE SCHEMA "s, t; ONLY"',
        'CREATE TABLE "s, t; ONLY"."x""y, $$:z" ("i, j" int)',
        'INSERT INTO "s, t; ONLY"."x""y, $$:z" VALUES (1)',
    )
    manager = BackupManager(shop.engine, tmp_path / "backups")
    manager.create()
    before = dumped(shop)
    shop.execute('INSERT INTO "a, b" DEFAULT VALUES')
    later = dumped(shop)
    manager.restore("latest")
    assert dumped(shop) == before
    manager.undo_restore()
    assert dumped(shop) == later


class Latin(Owned):
    """A database of another encoding than that of our sessions."""

    def maintain(self, statement: str) -> None:
        """Say so when it is made."""
        words = "CREATE DATABASE {} TEMPLATE template0 ENCODING LATIN1"
        super().maintain(words if statement == "CREATE DATABASE {}" else statement)


def test_names_of_another_encoding_come_back(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script of the backup sets that encoding for the session."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with Latin(server) as made:
        made.execute(
            'CREATE SCHEMA "Maße"',
            'CREATE TABLE "Maße"."größe" ("ä" text)',
            """INSERT INTO "Maße"."größe" VALUES ('ö')""",
        )
        manager = BackupManager(made.engine, tmp_path / "backups")
        manager.create()
        made.execute("""INSERT INTO "Maße"."größe" VALUES ('ü')""")
        manager.restore("latest")
        asked = """SELECT string_agg("ä", ' ' ORDER BY "ä") FROM "Maße"."größe" AS one"""
        assert made.scalar(asked) == "ö"
        manager.undo_restore()
        assert made.scalar(asked) == "ö ü"


BROUGHT = {
    "publication news": ("CREATE PUBLICATION news FOR TABLE note", "DROP PUBLICATION news"),
    "cast": ("CREATE CAST (mood AS date) WITH INOUT", "DROP CAST (mood AS date)"),
    "default privileges": (
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM PUBLIC",
    ),
}


@pytest.mark.parametrize("kind", BROUGHT)
def test_a_backup_of_what_no_schema_holds_is_refused(
    shop: Owned, tmp_path: Path, kind: str
) -> None:
    """Once it is there, nothing could be restored any more, not even by an undo."""
    make, drop = BROUGHT[kind]
    shop.execute(make)
    manager = BackupManager(shop.engine, tmp_path / "backups")
    manager.create()
    shop.execute(drop, "INSERT INTO note (body) VALUES ('three')")
    problems = manager.can_restore("latest").problems
    assert [type(one) for one in problems] == [MissingRightError]
    with pytest.raises(MissingRightError, match=f"it has {kind}"):
        manager.restore("latest")
    assert rows(shop) == 3
    assert manager.safety_backup() is None


@pytest.mark.parametrize("kind", ["publication", "large object"])
def test_what_no_schema_holds_and_is_made_meanwhile_is_refused(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The safety backup could not be restored: nothing is changed."""
    make_room = Ready.make_room

    def make_room_and_more(ready: Ready, schemas: tuple[str, ...]) -> None:
        make_room(ready, schemas)
        shop.administer(OUTSIDE[kind])

    monkeypatch.setattr(Ready, "make_room", make_room_and_more)
    with pytest.raises(MissingRightError, match=f"it has {kind}"):
        manager.restore("latest")
    assert rows(shop) == 3
    assert manager.safety_backup() is None


OUTSIDE = {
    "large object": "SELECT lo_create(4711)",
    "publication": "CREATE PUBLICATION news",
    "event trigger": "CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS"
    " $$ BEGIN END $$; ALTER FUNCTION told() OWNER TO {user};"
    " CREATE EVENT TRIGGER told ON ddl_command_end EXECUTE FUNCTION told()",
    "cast": "CREATE CAST (mood AS date) WITH INOUT",
    "access method": "CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler",
    "default privileges": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
}


@in_both_ways
def test_a_function_whose_transaction_is_open_holds_it_up(shop: Owned, tmp_path: Path) -> None:
    """It locks no schema: it would be in none, and nobody could back the database up any more."""
    manager = BackupManager(shop.engine, tmp_path / "backups", lock_timeout=0.5)
    manager.create()
    maker = sa.create_engine(shop.url, poolclass=NullPool)
    with maker.connect() as connection:
        connection.exec_driver_sql("CREATE FUNCTION fresh() RETURNS int RETURN 1")
        with pytest.raises(DatabaseLockedError):
            manager.restore("latest")
        connection.commit()
    assert shop.scalar("SELECT fresh()") == 1
    manager.create()


@pytest.mark.parametrize("ends", [True, False], ids=["commits", "stays open"])
@in_both_ways
def test_a_table_whose_transaction_is_open_is_not_lost(
    shop: Owned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """It locks its schema, not a table: the restore gives way, or replaces it once it has ended."""
    manager = BackupManager(shop.engine, tmp_path / "backups", lock_timeout=2 if ends else 0.5)
    manager.create()
    maker = sa.create_engine(shop.url, poolclass=NullPool)
    with maker.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE fresh (id int)")
        connection.exec_driver_sql("INSERT INTO fresh VALUES (1)")
        readers_are_out = Ready._readers_are_out

        def end_and_lock(ready: Ready, *arguments: Any, **options: Any) -> bool:
            if ends:
                connection.commit()
            return readers_are_out(ready, *arguments, **options)

        monkeypatch.setattr(Ready, "_readers_are_out", end_and_lock)
        if ends:
            manager.restore("latest")
            assert "fresh" not in dumped(shop)
            manager.undo_restore()
        else:
            backend = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            with pytest.raises(DatabaseLockedError) as raised:
                manager.restore("latest")
            if shop.second != ODD:
                assert raised.value.reason == (
                    f"somebody is using it: process {backend} of {shop.user}"
                )
        assert rows(shop) == 2
        connection.commit()
    assert shop.scalar("SELECT count(*) FROM fresh") == 1


@pytest.mark.parametrize("kind", OUTSIDE)
def test_what_no_schema_holds_is_refused(shop: Owned, manager: BackupManager, kind: str) -> None:
    """It would not be replaced with the schemas: nothing is begun, and what would help is said."""
    shop.administer(OUTSIDE[kind].format(user=shop.user))
    problems = manager.can_restore("latest").problems
    assert [type(one) for one in problems] == [MissingRightError]
    assert f"it has {kind}" in str(problems[0])
    assert "CREATEDB" in problems[0].hint
    with pytest.raises(MissingRightError, match=f"it has {kind}"):
        manager.restore("latest")
    assert rows(shop) == 3
    shop.administer("DROP EVENT TRIGGER IF EXISTS told", "DROP FUNCTION IF EXISTS told()")


def test_a_subscription_is_refused(shop: Owned, manager: BackupManager) -> None:
    """It would no longer write to the tables that are replaced, and say nothing."""
    with shop._administrator.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        admin.exec_driver_sql(
            "CREATE SUBSCRIPTION news CONNECTION 'dbname=nowhere' PUBLICATION news"
            " WITH (connect = false, slot_name = NONE)"
        )
        try:
            (problem,) = manager.can_restore().problems
            assert "subscription news" in str(problem)
            with pytest.raises(MissingRightError):
                manager.restore("latest")
        finally:
            admin.exec_driver_sql("DROP SUBSCRIPTION news")
    assert rows(shop) == 3


def test_a_backup_with_large_objects_is_refused(shop: Owned, tmp_path: Path) -> None:
    """Its script has transactions of its own, one of which would end ours."""
    shop.administer("SELECT lo_create(4711)")
    manager = BackupManager(shop.engine, tmp_path / "backups")
    shop.administer(f"ALTER LARGE OBJECT 4711 OWNER TO {shop.user}")
    manager.create()
    shop.administer("SELECT lo_unlink(4711)")
    before = dumped(shop)
    assert [type(one) for one in manager.can_restore("latest").problems] == [MissingRightError]
    with pytest.raises(MissingRightError, match="large objects"):
        manager.restore("latest")
    assert dumped(shop) == before


@pytest.mark.parametrize(
    "statement",
    [
        "REVOKE CREATE ON DATABASE {} FROM {user}",
        "ALTER TABLE note OWNER TO postgres",
        'ALTER SCHEMA "Odd name" OWNER TO postgres',
        "ALTER FUNCTION upper_body() OWNER TO postgres",
        "ALTER TYPE mood OWNER TO postgres",
        "CREATE COLLATION public.plain (locale = 'C')",
        "CREATE TEXT SEARCH CONFIGURATION public.words (copy = simple)",
        "CREATE TEXT SEARCH DICTIONARY public.words (template = simple)",
        "CREATE CONVERSION public.c FOR 'LATIN1' TO 'UTF8' FROM pg_catalog.iso8859_1_to_utf8",
        "CREATE OPERATOR public.|+| (leftarg = int, rightarg = int, function = int4pl)",
        "CREATE OPERATOR FAMILY public.f USING btree",
        "CREATE STATISTICS public.both ON id, body FROM note",
    ],
)
def test_each_right_that_is_missing_is_refused(
    shop: Owned, manager: BackupManager, statement: str
) -> None:
    """Before anything is begun; the hint names the usual way."""
    if "REVOKE" in statement:  # an owner may always; one who is not may where it is granted
        shop.maintain("ALTER DATABASE {} OWNER TO postgres")
        shop.maintain("REVOKE ALL ON DATABASE {} FROM PUBLIC")
        shop.maintain(f"GRANT CONNECT ON DATABASE {{}} TO {shop.user}")
    else:
        shop.administer(statement)
    with pytest.raises(MissingRightError, match="create databases") as caught:
        manager.restore("latest")
    assert "CREATEDB" in caught.value.hint
    assert int(shop.scalar("SELECT count(*) FROM pg_tables WHERE tablename = 'later'")) == 1
    shop.administer(f"REASSIGN OWNED BY {shop.user} TO postgres", f"DROP OWNED BY {shop.user}")


def test_the_rights_of_the_page_are_enough(shop: Owned, tmp_path: Path) -> None:
    """One who does not own the database may restore, with the rights that the page names."""
    shop.maintain("ALTER DATABASE {} OWNER TO postgres")
    for statement in statements("restore-within.sql"):
        shop.maintain(statement.replace("shop", shop.name).replace("app", shop.user))
    shop.administer(f"ALTER SCHEMA public OWNER TO {shop.user}")
    manager = BackupManager(shop.engine, tmp_path / "backups")
    manager.create()
    before = dumped(shop)
    shop.execute("DELETE FROM day")
    assert manager.can_restore("latest").ok
    manager.restore("latest")
    assert dumped(shop) == before
    shop.administer(f"REASSIGN OWNED BY {shop.user} TO postgres", f"DROP OWNED BY {shop.user}")


def test_a_failed_migration_is_put_back(server: Server, tmp_path: Path) -> None:
    """What a transaction of its own committed in the failed run is gone, without CREATEDB."""
    with Owned(server) as database:
        project = Project(tmp_path / "project", DOORS[-1])
        lines = project.ini.read_text().splitlines()
        lines = [
            f"sqlalchemy.url = {database.url}" if "sqlalchemy.url =" in one else one
            for one in lines
        ]
        project.ini.write_text("\n".join(lines) + "\n")
        project.revision("first", None, FIRST)
        with pytest.raises(MigrationRefusedError, match=f"no pg_dump {server.version}"):
            project.upgrade("first")  # this user may not ask the server where its programs are
        project.set_option("soulsense_tools", str(server.bin))
        project.upgrade("first")
        before = dumped(database)
        project.revision(
            "second",
            "first",
            "with op.get_context().autocommit_block():\n"
            "    op.execute('CREATE TABLE half (id int)')\n"
            "raise ValueError('half-way')",
        )
        with pytest.raises(ValueError, match="half-way"):
            project.upgrade("second")
        assert dumped(database) == before


def test_psql_is_needed(shop: Owned, manager: BackupManager, tmp_path: Path) -> None:
    """Where it is missing, that is said before anything is begun."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for program in ("pg_dump", "pg_restore"):
        script = f'#!/bin/sh\nexec "{shop.server.bin / program}" "$@"\n'
        (folder / program).write_text(script)
        (folder / program).chmod(0o755)
    other = BackupManager(shop.engine, tmp_path / "backups", tools=folder)
    with pytest.raises(ServerToolError, match="no psql"):
        other.restore("latest")
    assert [type(one) for one in other.can_restore("latest").problems] == [ServerToolError]
    assert rows(shop) == 3


def test_a_preview_names_rights_where_they_differ(
    shop: Owned, manager: BackupManager, tmp_path: Path
) -> None:
    """The rows and tables are the same: a restore would take back what was granted since."""
    manager.create()
    shop.execute('GRANT USAGE ON SCHEMA "Odd name" TO pg_monitor')
    place = ("--url", shop.url, "--directory", str(tmp_path / "backups"))
    done = subprocess.run(
        [sys.executable, "-m", "soulsense_db", "restore", "latest", "--dry-run", *place],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rights differ: a restore brings those of the backup back" in done.stdout


def test_an_upgrade_that_cannot_be_rehearsed_names_the_way_out(shop: Owned, tmp_path: Path) -> None:
    """Where nobody can give the right, the upgrade goes without a rehearsal."""
    project = project_on(shop, tmp_path / "project")
    said = project.ini.read_text()
    project.ini.write_text(said.replace("://postgres@", f"://{shop.user}@"))
    project.set_option("soulsense_backup", "true")
    project.set_option("soulsense_rehearse", "true")
    project.set_option("soulsense_backup_directory", str(tmp_path / "backups"))
    programs = tmp_path / "programs"  # without those of a private server
    programs.mkdir()
    for program in ("pg_dump", "pg_restore", "psql"):
        path = programs / program
        path.write_text(f'#!/bin/sh\nexec "{shop.server.bin / program}" "$@"\n')
        path.chmod(0o755)
    project.set_option("soulsense_tools", str(programs))
    project.revision("first", None, FIRST)
    with pytest.raises(MigrationRefusedError) as caught:
        project.upgrade("first")
    assert f"ALTER ROLE {shop.user} CREATEDB;" in caught.value.hint
    assert "   Or, to upgrade without a rehearsal: " in caught.value.hint
    said = project.ini.read_text()
    project.ini.write_text(said.replace("soulsense_rehearse = true", "soulsense_rehearse = false"))
    project.upgrade("first")
    assert shop.scalar("SELECT count(*) FROM alembic_version") == 1


def test_the_command_says_how_it_would_restore(
    shop: Owned, manager: BackupManager, tmp_path: Path
) -> None:
    """Before the question, and in a dry run."""
    place = ("--url", shop.url, "--directory", str(tmp_path / "backups"))
    done = subprocess.run(
        [sys.executable, "-m", "soulsense_db", "restore", "latest", "--dry-run", *place],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "writers wait while the safety backup" in done.stderr
    assert manager.safety_backup() is None


def test_a_cancelled_restore_lets_writers_go_on_at_once(
    shop: Owned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it waits for a reader, with writers locked out: the server goes on with nothing."""
    manager = BackupManager(shop.engine, tmp_path / "backups", lock_timeout=30)
    manager.create()
    waits = threading.Event()
    lock_all = Ready._lock_all

    def noted(ready: Ready, mode: str, then: str = "", **options: Any) -> bool:
        if mode == "ACCESS EXCLUSIVE":
            waits.set()
        return lock_all(ready, mode, then, **options)

    def progress(_done: int, _total: int) -> None:
        if waits.is_set():
            raise CancelledError

    monkeypatch.setattr(Ready, "_lock_all", noted)
    reader = sa.create_engine(shop.url, poolclass=NullPool)
    with reader.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM note")
        with pytest.raises(CancelledError):
            manager.restore("latest", progress=progress)
        shop.execute("SET lock_timeout = '1s'", "UPDATE note SET body = 'x' WHERE id = 1")
    assert rows(shop) == 2
    assert manager.safety_backup() is None
