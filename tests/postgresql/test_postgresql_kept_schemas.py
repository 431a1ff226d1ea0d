"""What a restore within the database replaced is kept until it is copied, under its own names."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from helpers import eventually
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from postgresql import content
from postgresql.newest import on_newest
from postgresql.owned import OF_KEPT, Owned, backed_up, dumped, rows, with_notes
from postgresql.server import Server
from soulsense_db import BackupInfo, BackupManager
from soulsense_db.drivers import Driver, driver_for
from soulsense_db.drivers.postgresql import (
    PostgreSQLDriver,
    archive,
    contents,
    kept_schemas,
    toc,
)
from soulsense_db.drivers.postgresql.kept_schemas import KeptSchemas
from soulsense_db.drivers.postgresql.renaming import Names, Renamed
from soulsense_db.drivers.postgresql.schema_restore import Ready
from soulsense_db.drivers.postgresql.statements import KEPT
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.drivers.swapping_driver import SAFETY_BACKUP_MISSING
from soulsense_db.errors import BackupError, DatabaseLockedError, RestoreError, ServerToolError

# With schemas whose names need no quotes, and values that are names of tables.
EVERYTHING = (
    content.EVERYTHING.replace('"Odd.Schema %s:x"', "odd_schema")
    .replace('"a.b".c', "a_b.c")
    .replace('SCHEMA "a.b"', "SCHEMA a_b")
    + """
    CREATE TABLE points (to_one regclass, to_many regclass[], type regtype, made text);
    INSERT INTO points VALUES ('a.b', ARRAY['a."b.c"', 'other.texts', '"table"']::regclass[],
        'mood', 'soulsense_kept_');
    INSERT INTO points SELECT 'other.texts' FROM generate_series(1, 20000);
    COMMENT ON SCHEMA a IS 'of a';
    GRANT CREATE ON SCHEMA a_b TO app_reader;
    """
)
# A restore within the database is refused where there is any.
OUTSIDE = {
    *("CAST", "DEFAULT ACL", "EVENT TRIGGER", "FOREIGN DATA WRAPPER", "SERVER", "USER MAPPING"),
    *("PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"),
}


def set_aside(server: Server, name: str) -> None:
    """Do with the schemas of a database what a restore within it does."""
    begin, own = kept_schemas.new_name(), {}
    place = content.psql(server, name, kept_schemas.PLACE).strip()
    asked = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information' ORDER BY 1"
    for number, schema in enumerate(content.psql(server, name, asked).split()):
        now = kept_schemas.name_of(begin, number)
        content.psql(server, name, f"ALTER SCHEMA {schema} RENAME TO {now}")
        own[now] = schema
    version_table = "public.alembic_version"
    noted = kept_schemas.keeping(
        begin, own, purpose="undo", place=place, version_table=version_table
    )
    content.psql(server, name, "; ".join(noted))


@pytest.mark.parametrize("owner", ["", "ALTER SCHEMA public OWNER TO app_owner"])
def test_the_copy_is_what_a_backup_is(server: Server, tmp_path: Path, owner: str) -> None:
    """Of all that is in schemas, statements and rows are the same, and so are the facts."""
    content.make_roles(server)
    with content.database(server, "shop", content=EVERYTHING) as name:
        content.psql(server, name, owner)
        backup, copy = content.backup(server, name, tmp_path), tmp_path / "copy.pgdump"
        set_aside(server, name)
        driver = content.driver_on(server, name)
        assert driver.replaced_without_copy() == "undo"
        copy.touch()
        driver.snapshot_replaced(copy)
        tools, environment = driver.tools(), driver.environment()
    items, copied = (
        contents.schema_of_archive(tools, path, server.version, environment).items
        for path in (backup, copy)
    )
    assert copied <= items
    assert {one.kind for one in items - copied if one.kind not in OUTSIDE} == set()
    assert {one.schema for one in items - copied if not one.kind.startswith("PUBLICATION")} == {"-"}
    known, copied_facts = archive.read(backup), archive.read(copy)
    tables = [one for one in known.tables if one.schema != "pg_catalog"]
    assert list(copied_facts.tables) == tables
    assert (copied_facts.schemas, copied_facts.heads, copied_facts.version_table) == (
        known.schemas,
        known.heads,
        known.version_table,
    )
    in_backup, in_copy = (
        sorted(
            (row.table.copied, row.line)
            for row in contents.rows_of_archive(tools, path, archive.read(path), environment)
            if row.table.schema != "pg_catalog"
        )
        for path in (backup, copy)
    )
    assert in_copy == in_backup


@pytest.fixture
def shop(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Owned]:
    """Return a database of a user who may make no others, with two rows in each of two schemas."""
    with with_notes(
        server,
        monkeypatch,
        "CREATE SEQUENCE turn MAXVALUE 3 CYCLE",
        "CREATE TABLE turns (id int GENERATED BY DEFAULT AS IDENTITY (MAXVALUE 3 CYCLE))",
        "CREATE TYPE span AS RANGE (subtype = float8)",
        "CREATE SCHEMA other",
        "CREATE TABLE other.of_note (id int REFERENCES note, at regclass)",
        "INSERT INTO other.of_note VALUES (1, 'other.of_note'), (2, 'note')",
    ) as made:
        yield made


@pytest.fixture
def manager(shop: Owned, tmp_path: Path) -> BackupManager:
    """Return a manager of a database that has a third row since its backup."""
    made = backed_up(shop, tmp_path)
    shop.execute("CREATE TABLE later (id int)")
    return made


def driver_of(shop: Owned) -> Driver:
    """Return a driver of the user's."""
    return driver_for(shop.engine, lock_timeout=5)


def before_the_copy(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    """Have ``work`` done when the restore is committed, before the safety backup is written."""
    write_copy = KeptSchemas.write_copy

    def write_after(held: KeptSchemas, *arguments: Any, **options: Any) -> SnapshotInfo:
        work()
        return write_copy(held, *arguments, **options)

    monkeypatch.setattr(KeptSchemas, "write_copy", write_after)


@on_newest
def test_others_go_on_while_the_safety_backup_is_written(
    shop: Owned, manager: BackupManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They write, and make backups of what is live; then nothing is left of what was replaced."""
    done: list[BackupInfo] = []

    def work() -> None:
        if done:
            return  # it is the undo
        shop.execute("SET lock_timeout = '1s'", "INSERT INTO note VALUES (100, 'at once')")
        assert shop.scalar(OF_KEPT) == 3
        backup = BackupManager(shop.engine, tmp_path / "others").create()
        assert {one.schema for one in archive.read(Path(backup.path)).tables} == {"public", "other"}
        done.append(backup)

    before_the_copy(monkeypatch, work)
    later = dumped(shop)
    assert "writers wait" not in "".join(manager.can_restore("latest").warnings)
    assert manager.restore("latest").warnings == ()
    assert len(done) == 1
    assert rows(shop) == 3
    assert shop.scalar(OF_KEPT) == 0
    manager.undo_restore()
    assert dumped(shop) == later


KILLED = """
import os, signal, sys, sqlalchemy as sa
from soulsense_db import BackupInfo, BackupManager
from soulsense_db.drivers.postgresql import kept_schemas
kept_schemas.KeptSchemas.write_copy = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
BackupManager(sa.create_engine(sys.argv[1]), sys.argv[2]).restore("latest")
"""


@on_newest
def test_the_next_call_makes_the_copy_of_a_restore_that_was_killed(
    shop: Owned, manager: BackupManager, tmp_path: Path
) -> None:
    """Nobody else takes what was replaced for something of the application's meanwhile."""
    later = dumped(shop)
    child = [sys.executable, "-c", KILLED, shop.url, str(tmp_path / "backups")]
    assert subprocess.run(child, check=False).returncode == -signal.SIGKILL
    assert rows(shop) == 2
    driver = driver_of(shop)
    assert driver.unfinished() == SAFETY_BACKUP_MISSING
    path = tmp_path / "between.pgdump"
    path.touch()
    driver.snapshot(path)
    assert driver.has_schema_of(path, ignore=())
    assert archive.read(path).schemas == ("other", "public")
    assert driver.compare(path, ignore=()).identical
    manager.undo_restore()
    assert dumped(shop) == later
    assert shop.scalar(OF_KEPT) == 0
    assert not driver.unfinished()


UNUSUAL = {
    "a name that needs quotes": 'ALTER SCHEMA other RENAME TO "Other"',
    "a name that is a word": 'ALTER SCHEMA other RENAME TO "order"',
    "no comment": "COMMENT ON SCHEMA public IS NULL",
    "more rights": "GRANT CREATE ON SCHEMA public TO PUBLIC",
    "fewer rights": "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
}


@on_newest
@pytest.mark.parametrize("what", UNUSUAL)
def test_what_would_not_be_the_same_in_a_copy_is_not_kept(
    shop: Owned, manager: BackupManager, what: str
) -> None:
    """Writers wait, as is said before; an undo brings it back."""
    assert driver_of(shop).keeps_replaced
    shop.execute(UNUSUAL[what])
    later = dumped(shop)
    assert not driver_of(shop).keeps_replaced
    assert "writers wait while" in "".join(manager.can_restore("latest").warnings)
    manager.restore("latest")
    assert dumped(shop) != later
    manager.undo_restore()
    assert dumped(shop) == later


@on_newest
@pytest.mark.parametrize("what", UNUSUAL)
def test_what_becomes_unusual_meanwhile_is_not_lost(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The restore gives way to it; the next one replaces it in the other way."""
    make_room = Ready.make_room
    done: list[str] = []

    def make_room_after(ready: Ready, schemas: tuple[str, ...]) -> None:
        if not done:
            shop.execute(UNUSUAL[what])
            done.append(dumped(shop))
        make_room(ready, schemas)

    monkeypatch.setattr(Ready, "make_room", make_room_after)
    with pytest.raises(DatabaseLockedError, match="somebody makes tables"):
        manager.restore("latest")
    assert [dumped(shop)] == done
    assert manager.safety_backup() is None
    manager.restore("latest")
    manager.undo_restore()
    assert [dumped(shop)] == done


@pytest.fixture
def read_after_the_swap(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> Iterator[sa.Connection]:
    """Yield a session that has begun to read what a restore replaced, before there was a copy.

    It holds up the drop of it; whoever waits for that, does so for half a second.
    """
    engine = sa.create_engine(
        shop.url, poolclass=NullPool, connect_args={"application_name": "dumper"}
    )
    asked = f"SELECT nspname FROM pg_namespace WHERE starts_with(nspname, '{KEPT}') ORDER BY 1"
    with engine.connect() as connection:

        def work() -> None:
            if not (connection.closed or connection.in_transaction()):
                names = list(connection.scalars(sa.text(asked)))
                connection.exec_driver_sql(f"SELECT * FROM {names[1]}.of_note")

        before_the_copy(monkeypatch, work)
        BackupManager(shop.engine, manager.directory, lock_timeout=0.5).restore("latest")
        yield connection


def names_beside(directory: Path) -> set[str]:
    """Return the names of the safety backups, and of what is beside them, of a directory."""
    return {path.name for path in directory.rglob("*.safety_backup*")}


@on_newest
def test_what_somebody_reads_goes_with_the_next_restore(
    shop: Owned, manager: BackupManager, read_after_the_swap: sa.Connection
) -> None:
    """As a program may that dumps all it finds: from then on others may write to it, too."""
    impatient = BackupManager(shop.engine, manager.directory, lock_timeout=0.5)
    backend = read_after_the_swap.scalar(sa.text("SELECT pg_backend_pid()"))
    assert shop.scalar(OF_KEPT) == 3
    assert driver_of(shop).unfinished() == SAFETY_BACKUP_MISSING
    first = names_beside(manager.directory)
    for _ in range(2):
        with pytest.raises(RestoreError, match="nothing is lost") as raised:
            impatient.undo_restore()
        assert f"process {backend} of {shop.user}, dumper" in str(raised.value)
        assert names_beside(manager.directory) == first  # each attempt replaces the copy of before
    read_after_the_swap.close()
    impatient.undo_restore()
    assert rows(shop) == 3
    assert shop.scalar(OF_KEPT) == 0


@on_newest
def test_another_machine_does_not_gather_copies_of_what_stays(
    shop: Owned, manager: BackupManager, tmp_path: Path, read_after_the_swap: sa.Connection
) -> None:
    """It cannot remove what somebody reads; once it can, there is one copy."""
    manager.directory.rename(tmp_path / "of the first one")
    elsewhere = BackupManager(shop.engine, tmp_path / "elsewhere", lock_timeout=0.5)
    elsewhere.create()
    with pytest.raises(RestoreError, match="nothing is lost"):
        elsewhere.restore("latest")
    assert not list(elsewhere.directory.rglob("*.safety_backup.2*"))
    read_after_the_swap.close()
    with elsewhere.exclusive():
        assert shop.scalar(OF_KEPT) == 0
    (copy,) = elsewhere.directory.rglob("*.safety_backup.2*[0-9]")
    assert {one.rows for one in archive.read(copy).tables if one.name == "note"} == {3}


@on_newest
@pytest.mark.parametrize("whose", ["an administrator's", "a role's", "another name", "a statement"])
def test_what_is_no_note_of_ours_is_not_believed(
    shop: Owned, manager: BackupManager, whose: str
) -> None:
    """Whoever may make a schema could say that others are what a restore replaced."""
    place, begin = shop.scalar(kept_schemas.PLACE), kept_schemas.new_name()
    now = {
        "another name": "other",
        "a statement": f"{begin}_0000; DROP SCHEMA other CASCADE",
    }.get(whose, f"{begin}_0000")
    noted = kept_schemas.keeping(
        begin, {now: "other"}, purpose="undo", place=place, version_table=None
    )
    if whose == "an administrator's":
        shop.administer(*noted)
    else:
        shop.execute(*noted)
    if whose == "a role's":
        shop.administer(f"CREATE ROLE {begin}", f"GRANT {begin} TO {shop.user}")
        shop.administer(f"ALTER SCHEMA {begin} OWNER TO {begin}")
    assert driver_of(shop).replaced_without_copy() is None
    manager.restore("latest")
    assert rows(shop) == 2
    assert shop.scalar("SELECT count(*) FROM other.of_note") == 2
    if whose == "a role's":
        shop.administer(f"DROP OWNED BY {begin}", f"DROP ROLE {begin}")


@on_newest
def test_a_copy_of_the_database_has_nothing_to_finish(
    shop: Owned, manager: BackupManager, tmp_path: Path
) -> None:
    """It has the same note, which is about another one: its safety backup is not taken for that."""
    child = [sys.executable, "-c", KILLED, shop.url, str(tmp_path / "backups")]
    assert subprocess.run(child, check=False).returncode == -signal.SIGKILL
    shop.engine.dispose()
    with Owned(shop.server) as clone:
        clone.engine.dispose()
        clone.maintain("DROP DATABASE {}")
        clone.maintain(f"CREATE DATABASE {{}} TEMPLATE {shop.name}")
        engine = sa.create_engine(shop.server.url(clone.name, user=shop.user), poolclass=NullPool)
        other = driver_for(engine, lock_timeout=5)
        assert not other.unfinished()
    assert driver_of(shop).unfinished() == SAFETY_BACKUP_MISSING
    manager.undo_restore()
    assert rows(shop) == 3


@on_newest
@pytest.mark.parametrize("through", ["a view", "a function", "a temporary view"])
def test_who_goes_on_in_a_replaced_table_loses_nothing(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch, through: str
) -> None:
    """Who waited has found his table before: what he commits is in the safety backup, or fails."""
    shop.execute(
        "CREATE VIEW notes AS SELECT id, body FROM note",
        "CREATE FUNCTION add(n int) RETURNS void LANGUAGE sql BEGIN ATOMIC"
        " INSERT INTO note VALUES (n, 'w'); END",
    )
    written: list[int] = []
    ended = threading.Event()
    statement = {
        "a view": "INSERT INTO notes VALUES ({}, 'w')",
        "a function": "SELECT add({})",
        "a temporary view": "INSERT INTO mine VALUES ({}, 'w')",
    }[through]
    engine = sa.create_engine(shop.url, poolclass=NullPool)

    def write(number: int) -> None:
        with suppress(DBAPIError), engine.connect() as connection:
            if through == "a temporary view":
                connection.exec_driver_sql("CREATE TEMP VIEW mine AS SELECT * FROM note")
                connection.commit()
            while not ended.is_set():
                number += 10
                connection.exec_driver_sql(statement.format(number))
                time.sleep(0.05)  # of other work of the application's
                connection.commit()
                written.append(number)

    write_copy = KeptSchemas.write_copy

    def write_and_wait(held: KeptSchemas, *arguments: Any, **options: Any) -> SnapshotInfo:
        found = write_copy(held, *arguments, **options)
        ended.wait(0.3)
        return found

    monkeypatch.setattr(KeptSchemas, "write_copy", write_and_wait)
    with ThreadPoolExecutor(4) as executor:
        for number in range(1000, 1004):
            executor.submit(write, number)
        eventually(lambda: len(written) > 20)
        try:
            manager.restore("latest")
        finally:
            ended.set()
    here = ids(shop)
    manager.undo_restore()
    assert sorted({*here, *ids(shop)} & {*written}) == sorted(written)


def ids(shop: Owned) -> set[int]:
    """Return the numbers of all notes."""
    return set(shop.scalar("SELECT array_agg(id) FROM note"))


@on_newest
def test_what_cannot_be_read_is_not_replaced(shop: Owned, manager: BackupManager) -> None:
    """It could be in no safety backup: that is made before, and the restore refused."""
    for on, off in (
        (
            "ALTER TABLE note ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE note DISABLE ROW LEVEL SECURITY",
        ),
        ("REVOKE SELECT ON note FROM CURRENT_USER", "GRANT SELECT ON note TO CURRENT_USER"),
        ("REVOKE SELECT ON SEQUENCE note_id_seq FROM CURRENT_USER", ""),
    ):
        shop.execute(on, "ALTER TABLE note FORCE ROW LEVEL SECURITY")
        with pytest.raises(BackupError, match="Nothing was changed"):
            manager.restore("latest")
        assert shop.scalar("SELECT to_regclass('later') IS NOT NULL")
        if off:
            shop.execute(off)


@on_newest
def test_a_database_without_any_schema_is_dropped_as_it_is(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to keep, also where somebody drops the last one meanwhile."""
    make_room = Ready.make_room

    def make_room_after(ready: Ready, schemas: tuple[str, ...]) -> None:
        shop.execute("DROP SCHEMA IF EXISTS public, other CASCADE")
        make_room(ready, schemas)

    monkeypatch.setattr(Ready, "make_room", make_room_after)
    with pytest.raises(DatabaseLockedError, match="somebody makes tables"):
        manager.restore("latest")
    assert not driver_of(shop).keeps_replaced
    manager.restore("latest")
    assert rows(shop) == 2


@on_newest
def test_a_program_that_fails_is_told_as_what_it_is(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own words, and not as an archive of an unknown kind; the next call makes the copy."""
    asked = "SELECT min(c.oid)::regclass::text FROM pg_class c WHERE c.relname = 'note'"
    tables: list[str] = []

    def work() -> None:
        if not tables:
            shop.execute("SET search_path = ''")
            tables.append(shop.scalar(asked))
            shop.execute(f"REVOKE SELECT ON {tables[0]} FROM CURRENT_USER")

    before_the_copy(monkeypatch, work)
    (warning,) = manager.restore("latest").warnings
    assert "permission denied for table note" in warning
    shop.execute(f"GRANT SELECT ON {tables[0]} TO CURRENT_USER")
    manager.undo_restore()
    assert rows(shop) == 3


@on_newest
@pytest.mark.parametrize("may_make_databases", [False, True])
def test_what_is_changed_at_once_is_not_taken_back(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch, may_make_databases: bool
) -> None:
    """It is in use: what others have committed stays, and an undo goes back all the same."""
    if may_make_databases:
        shop.maintain(f"ALTER ROLE {shop.user} CREATEDB")
    check_loaded = PostgreSQLDriver.check_loaded

    def change_and_check(driver: PostgreSQLDriver, schema: object) -> None:
        shop.execute("DROP TABLE other.of_note", "INSERT INTO note VALUES (77, 'at once')")
        check_loaded(driver, schema)

    monkeypatch.setattr(PostgreSQLDriver, "check_loaded", change_and_check)
    with pytest.raises(RestoreError, match="is not what the backup contains") as caught:
        manager.restore("latest")
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{shop.server.bin}:{os.environ['PATH']}")
    assert str(shop.name) in caught.value.message
    assert "soulsense-db undo" in caught.value.hint
    assert ids(shop) == {1, 2, 77}
    manager.undo_restore()
    assert ids(shop) == {1, 2, 3}
    manager.undo_restore()
    assert ids(shop) == {1, 2, 77}


@on_newest
def test_a_function_that_is_hidden_is_not_needed_by_who_swaps_databases(
    server: Server,
) -> None:
    """A hardened server lets nobody call what tells servers apart."""
    with Owned(server) as shop:
        shop.maintain(f"ALTER ROLE {shop.user} CREATEDB")
        shop.execute("CREATE TABLE note AS SELECT 1 AS id")
        shop.administer("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        assert driver_of(shop).replaced_without_copy() is None


def in_pieces(data: bytes, size: int) -> bytes:
    """Return an archive with the rows of its tables in chunks of another size."""
    stream = io.BytesIO(data)
    reader = toc.Reader(stream.read)
    toc.read_contents(reader, lambda one: one.take(1 + toc.POSITION_BYTES))
    made = bytes(reader.taken)
    while kind := stream.read(1):
        made += kind + stream.read(len(toc.number(0)))
        rows = b""
        while length := toc.Reader(stream.read).number():
            rows += stream.read(length)
        chunks = (rows[at : at + size] for at in range(0, len(rows), size))
        made += b"".join(map(toc.text, chunks)) + toc.number(0)
    return made


@on_newest
def test_a_name_is_found_wherever_a_chunk_ends(server: Server, tmp_path: Path) -> None:
    """What has no name stays as it is, byte by byte; what is cut off or unknown is no archive."""
    del tmp_path
    now = kept_schemas.name_of(kept_schemas.new_name(), 0)
    content_ = f"""CREATE SCHEMA {now}; CREATE TABLE {now}.of_names (at regclass, body text);
        INSERT INTO {now}.of_names SELECT '{now}.of_names', '{now[:20]}' FROM generate_series(1, 9);
        CREATE TABLE {now}.plain AS SELECT n, 'soulsense_kept_' FROM generate_series(1, 9) AS n;"""
    names = Names({now: "of_mine"})

    def renamed(data: bytes, by: Names = names) -> bytes:
        made = Renamed(by, name="shop")
        found = b"".join(made.chunks(io.BytesIO(data)))
        made.require_whole()
        return found

    with content.database(server, "shop", content=content_) as name:
        driver = content.driver_on(server, name)
        with driver.tools().reading(
            "pg_dump", "--format=custom", "--compress=0", environment=driver.environment()
        ) as output:
            data = output.read()
    whole = renamed(data)
    assert now.encode() not in whole
    assert whole.count(b"of_mine.of_names\t" + now[:20].encode() + b"\n") == 9
    assert renamed(data, Names({"x" * 36: "y"})) == data
    for size in range(1, 60):
        assert in_pieces(renamed(in_pieces(data, size)), 1000) == in_pieces(whole, 1000)
    for cut in range(len(data) - 300, len(data)):
        with pytest.raises(ServerToolError):
            renamed(data[:cut])
    with pytest.raises(ServerToolError, match="goes on after its end"):
        renamed(data + b"\x03")
