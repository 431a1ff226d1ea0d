"""What PostgreSQL can hold is the same after it was backed up and restored."""

from __future__ import annotations

from pathlib import Path

import pytest
from server_peaks import peak_of

from postgresql import content
from postgresql.newest import on_newest
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers.postgresql import archive

SMALL = "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1);"


@pytest.fixture(autouse=True)
def _programs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    content.make_roles(server)
    monkeypatch.setenv("PATH", str(server.bin), prepend=":")


def comes_back(server: Server, name: str, folder: Path, **engine: object) -> None:
    """Back it up, restore it, and see that all is as it was, and that the driver says so."""
    before = content.facts(server, name)
    driver = content.driver_on(server, name, **engine)
    path = folder / "backup.pgdump"
    path.touch()
    driver.snapshot(path)
    assert driver.check(path, level="full").row_errors == ()
    driver.load(path)
    driver.check_loaded(driver.schema_of(path))
    assert content.facts(server, name) == before
    found = driver.compare(path, ignore=())
    assert found.tables == ()
    assert found.same_schema


def test_everything_comes_back(server: Server, tmp_path: Path) -> None:
    """Types, names, partitions, views, rights, large objects: all of it, and compares as equal."""
    with content.database(server, "app", content=content.EVERYTHING):
        comes_back(server, "app", tmp_path)


@on_newest
def test_large_values_take_no_memory(server: Server, tmp_path: Path) -> None:
    """Values of 16 MB are backed up, verified, restored and given back in less than 100 MB."""
    values = (
        "CREATE TABLE large (id integer PRIMARY KEY, data bytea);"
        "INSERT INTO large SELECT id, decode(repeat(md5(id::text), 1048576), 'hex')"
        " FROM generate_series(1, 2) AS id;"
    )
    with content.database(server, "app", content=values):
        calls = ("create", "verify", "restore", "undo_restore")
        assert peak_of(server.url("app"), tmp_path, *calls) < 100


def test_everything_comes_back_through_a_manager(server: Server, tmp_path: Path) -> None:
    """So it is with all that a manager does: a drill, a restore that is read back, and undo."""
    with content.database(server, "app", content=content.EVERYTHING):
        before = content.facts(server, "app")
        manager = BackupManager(content.engine_on(server, "app"), tmp_path, catalog=False)
        info = manager.create()
        assert manager.verify(info, level="drill")
        content.psql(server, "app", "DELETE FROM other.texts")
        changed = content.facts(server, "app")
        report = manager.restore(info)
        assert report.verified
        assert content.facts(server, "app") == before
        manager.undo_restore()
        assert content.facts(server, "app") == changed


@pytest.mark.parametrize(
    "name", ["ap%p", "%s", 'a"b', "a:b", ":x", "a b.c", "A_Mixed", "line\nbreak", "ü" + "x" * 61]
)
def test_a_database_may_have_any_name(server: Server, name: str, tmp_path: Path) -> None:
    """Percent signs, quotes and colons are a part of a name, and nothing else."""
    with content.database(server, name, content=SMALL):
        comes_back(server, name, tmp_path)


def test_what_is_set_for_a_database_stays(server: Server, tmp_path: Path) -> None:
    """Settings, also those under which nobody could write; rights, comment and limit."""
    with content.database(server, 'ap%p "x"', content=SMALL) as name:
        content.psql(server, "postgres", content.SETTINGS.format(content.quoted(name)))
        comes_back(server, name, tmp_path)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "UTF8"])
def test_an_encoding_stays(server: Server, encoding: str, tmp_path: Path) -> None:
    """With names of tables that are no ASCII, too."""
    odd = "ü" if encoding != "SQL_ASCII" else "u"
    text = f"""CREATE TABLE "t{odd}" ("ö" integer PRIMARY KEY, v text);
        INSERT INTO "t{odd}" VALUES (1, 'ä');"""
    options = f"ENCODING {encoding} LOCALE 'C'"
    with content.database(server, "app", options=options, content=text):
        comes_back(server, "app", tmp_path, connect_args={"client_encoding": "utf8"})


WRITTEN = r"""CREATE TABLE written (id integer PRIMARY KEY, "all" text DEFAULT '\\ €', raw bytea);
    INSERT INTO written VALUES (1, '\\ €', '\\x00ff5c');
    CREATE VIEW "to" AS SELECT * FROM written WHERE raw <> '\\xff' AND "all" <> '\\';
    ALTER TABLE written OWNER TO app_owner; ALTER VIEW "to" OWNER TO app_owner;"""


@on_newest
@pytest.mark.parametrize("may_create", [True, False])
def test_how_a_role_writes_values_is_no_part_of_them(
    server: Server, may_create: bool, tmp_path: Path
) -> None:
    """The role's encoding may lack characters of the database; its forms of values are its own."""
    settings = {
        "client_encoding": "'LATIN1'",
        "bytea_output": "'escape'",
        "quote_all_identifiers": "on",
        "standard_conforming_strings": "off",
    }
    ours = "CREATEDB" if may_create else "NOCREATEDB"
    content.psql(server, "postgres", f"ALTER ROLE app_owner {ours}")
    try:
        with content.database(server, "app", options="OWNER app_owner", content=WRITTEN):
            engine = content.engine_on(server, "app", user="app_owner")
            manager = BackupManager(engine, tmp_path, catalog=False)
            before, facts = manager.create(), content.facts(server, "app")
            for name, value in settings.items():
                content.psql(server, "postgres", f"ALTER ROLE app_owner SET {name} = {value}")
            assert manager.compare(before).identical
            info = manager.create()
            found = manager.diff(before, info)
            assert not found.schema
            assert not any(one.added or one.removed or one.changed for one in found.tables)
            assert manager.verify(info, level="drill")
            content.psql(server, "app", 'DROP VIEW "to"; DELETE FROM written')
            assert manager.restore(info).verified
            assert content.facts(server, "app") == facts
    finally:
        reset = "ALTER ROLE app_owner NOCREATEDB; ALTER ROLE app_owner RESET ALL"
        content.psql(server, "postgres", reset)


def test_a_locale_of_icu_stays(server: Server, tmp_path: Path) -> None:
    """A database whose order is that of ICU is made so again."""
    try:
        content.psql(server, "postgres", "CREATE COLLATION pg_temp.x (provider=icu, locale='de')")
    except AssertionError:
        pytest.skip("this server was built without ICU")
    options = "LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' LOCALE 'C.utf8'"
    with content.database(server, "app", options=options, content=SMALL):
        comes_back(server, "app", tmp_path)


def test_a_schema_public_that_is_gone_stays_so(server: Server, tmp_path: Path) -> None:
    """Or belongs to somebody else."""
    text = "DROP SCHEMA public; CREATE SCHEMA x; CREATE TABLE x.t (id integer PRIMARY KEY);"
    with content.database(server, "app", content=text):
        comes_back(server, "app", tmp_path)


def test_a_key_that_is_generated(server: Server, tmp_path: Path) -> None:
    """No dump has such a column: the rows are compared whole."""
    text = """CREATE TABLE g (a integer, b integer GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY);
        INSERT INTO g VALUES (1), (2);"""
    with content.database(server, "app", content=text):
        comes_back(server, "app", tmp_path)


def test_the_database_postgres_can_be_live(server: Server, tmp_path: Path) -> None:
    """It is restored from another one: nobody can rename the database he is connected to."""
    content.psql(server, "postgres", SMALL)
    try:
        path = content.backup(server, "postgres", tmp_path)
        content.psql(server, "postgres", "DELETE FROM t")
        content.driver_on(server, "postgres").load(path)
        assert content.psql(server, "postgres", "SELECT count(*) FROM t") == "1\n"
        assert content.databases(server) == {"postgres", "template0", "template1"}
    finally:
        content.psql(server, "postgres", "DROP TABLE t")


def test_large_objects_are_compared(server: Server, tmp_path: Path) -> None:
    """One with other bytes is a difference, though no table has another row."""
    text = "SELECT lo_from_bytea(77, '\\x01'), lo_from_bytea(78, '\\x01')"
    with content.database(server, "app", content=text):
        path = content.backup(server, "app", tmp_path)
        content.psql(server, "app", "SELECT lo_put(77, 0, '\\x02')")
        found = content.driver_on(server, "app").compare(path, ignore=())
        assert [(one.table, one.changed) for one in found.tables] == [
            ("pg_catalog.pg_largeobject", 1)
        ]


def test_tables_of_an_extension(server: Server, tmp_path: Path) -> None:
    """Of what an extension makes, only the rows are kept that it calls the user's."""
    folder = server.bin.parent / "share" / "extension"
    for one in (folder, server.bin.parent / "share" / "postgresql" / "extension"):
        folder = one if one.is_dir() else folder
    if not folder.is_relative_to(server.folder) or not folder.is_dir():
        pytest.skip("an extension can only be put into programs of our own")
    (folder / "mine.control").write_text("default_version = '1'\nrelocatable = false\n")
    (folder / "mine--1.sql").write_text(
        "CREATE TABLE kept (id integer PRIMARY KEY, own boolean);\n"
        "CREATE TABLE remade (id integer);\n"
        "INSERT INTO kept VALUES (1, false);\nINSERT INTO remade VALUES (1);\n"
        "SELECT pg_catalog.pg_extension_config_dump('kept', 'WHERE own');\n"
    )
    for path in folder.glob("mine*"):
        path.chmod(0o644)
    text = "CREATE EXTENSION mine; INSERT INTO kept VALUES (2, true), (3, true);"
    with content.database(server, "app", content=text):
        comes_back(server, "app", tmp_path)
        assert archive.read(tmp_path / "backup.pgdump").counts == {"kept": 2}


def test_extensions_in_and_out_of_public(server: Server, tmp_path: Path) -> None:
    """Types and functions of extensions are found where they were."""
    known = content.psql(server, "postgres", "SELECT name FROM pg_available_extensions").split()
    if not {"citext", "pgcrypto"} <= set(known):
        pytest.skip("this server has no extensions")
    text = """CREATE EXTENSION citext; CREATE SCHEMA tools; CREATE EXTENSION pgcrypto SCHEMA tools;
        CREATE TABLE t (id citext PRIMARY KEY, d bytea DEFAULT tools.digest('x', 'sha1'));
        INSERT INTO t VALUES ('A');"""
    with content.database(server, "app", content=text):
        comes_back(server, "app", tmp_path)


def test_a_database_that_is_missing_is_made_as_it_was(server: Server, tmp_path: Path) -> None:
    """With its encoding and locale, which the backup knows."""
    options = "ENCODING LATIN1 LOCALE 'C'"
    with content.database(server, "app", options=options, content=SMALL):
        before = content.facts(server, "app")
        path = content.backup(server, "app", tmp_path)
        content.psql(server, "postgres", "DROP DATABASE app")
        content.driver_on(server, "app").rebuild(path, facts={}, stamp="")
        assert content.facts(server, "app") == before


def test_amounts_of_money_do_not_depend_on_the_locale(server: Server, tmp_path: Path) -> None:
    """They are written in the language of a database, which a new one does not speak yet."""
    known = content.psql(
        server, "postgres", "SELECT collname FROM pg_collation WHERE collprovider = 'c'"
    )
    foreign = [one for one in known.split() if one[:2] in ("de", "fr", "ja") and "." in one]
    if not foreign:
        pytest.skip("this machine has no locale but C")
    text = "CREATE TABLE m (id integer PRIMARY KEY, v money); INSERT INTO m VALUES (1, 1234.56);"
    with content.database(server, "app", content=text) as name:
        content.psql(server, "postgres", f"ALTER DATABASE {name} SET lc_monetary = '{foreign[0]}'")
        comes_back(server, name, tmp_path)
