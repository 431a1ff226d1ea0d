"""Two databases whose names differ in capitals alone, or have the same checksum, stay two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import inventory, notes, schemas
from soulsense_db.drivers.mariadb.notes import Notes

CONTENT = """
CREATE TABLE note (id INT PRIMARY KEY AUTO_INCREMENT, body TEXT);
CREATE TABLE page (id INT PRIMARY KEY, note INT,
    CONSTRAINT of_NAME FOREIGN KEY (note) REFERENCES note (id));
CREATE TABLE log (line TEXT);
CREATE SEQUENCE numbers START 5;
CREATE VIEW bodies AS SELECT body FROM note;
"""
# With the same checksum in 32 bits.
SAME = ("tenant_19911", "tenant_84816")


@pytest.fixture
def pair(server: Server, tmp_path: Path) -> Iterator[tuple[Database, Database]]:
    """Return the databases App and app, of which only App has a trigger, an event and a routine."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with (
        new_database(server, folders[0], "App") as upper,
        new_database(server, folders[1], "app") as lower,
    ):
        upper.others, lower.others = frozenset({"app"}), frozenset({"App"})
        for number, one in enumerate((upper, lower)):
            one.run(CONTENT.replace("NAME", str(number)))  # InnoDB does not tell capitals apart
        upper.run(
            "CREATE TRIGGER noted AFTER INSERT ON note FOR EACH ROW INSERT INTO log VALUES ('App');"
            "CREATE EVENT never ON SCHEDULE EVERY 9 YEAR STARTS '2037-01-01 00:00:00' DO SELECT 1;"
            "CREATE PROCEDURE p() SELECT 1;"
        )
        yield upper, lower


def test_each_is_restored_as_it_was(pair: tuple[Database, Database]) -> None:
    """The server lists triggers and events of both under either name: neither gets the other's."""
    before = [one.dump() for one in pair]
    for one in pair:
        manager = BackupManager(one.engine, one.folder / "backups", catalog=False)
        manager.create()
        assert manager.compare("latest").identical
        one.run("DELETE FROM note; DROP VIEW bodies")
        manager.restore("latest")
        assert [each.dump() for each in pair] == before
        manager.undo_restore()
        assert "bodies" not in one.dump()
        manager.undo_restore()
        assert [each.dump() for each in pair] == before


def test_a_reference_from_the_other_one_is_one_from_elsewhere(
    pair: tuple[Database, Database],
) -> None:
    """A key of app to a table of App is in the way of a restore of App, and of no other."""
    upper, lower = pair
    lower.run("CREATE TABLE outside (note INT, FOREIGN KEY (note) REFERENCES `App`.note (id))")
    with lower.engine.connect() as connection:
        assert inventory.referring_from_elsewhere(connection, "App") == ["app.outside"]
        assert inventory.referring_from_elsewhere(connection, "app") == []
    lower.run("DROP TABLE outside")
    del upper


@pytest.mark.parametrize("names", [("App", "app"), SAME])
@pytest.mark.parametrize("dropped", ["", "_new", "_old"])
def test_what_a_killed_server_left_of_the_other_one_is_not_carried_out(
    server: Server, tmp_path: Path, names: tuple[str, str], dropped: str
) -> None:
    """A schema without its comment is whose the others say; alone, its notes are not believed."""
    theirs, mine = names
    with (
        new_database(server, tmp_path, theirs),
        new_database(server, tmp_path, mine) as database,
    ):
        database.run(CONTENT)
        before = database.dump()
        schema = schemas.new_name(theirs)
        assert schema[:-8] == schemas.new_name(mine)[:-8]
        noted = Notes(old_triggers=(), new_triggers=(), programs={}, sequences=("numbers",))
        with database.engine.connect() as connection:
            for ending in ("", "_new", "_old") if dropped else ("",):
                schemas.create(connection, schema + ending, live=theirs)
            notes.write(connection, schema, noted)
            database.run(f"ALTER DATABASE `{schema}{dropped}` COMMENT ''")
            assert schemas.ours(connection, mine) == []
            database.snapshot()
            assert database.dump() == before
            left = database.left() - {theirs}
            assert left == ({schema, f"{schema}_new", f"{schema}_old"} if dropped else set())
        for one in left:
            database.run(f"DROP DATABASE `{one}`")


def test_a_name_with_capitals_where_the_server_has_none(tmp_path: Path) -> None:
    """With lower_case_table_names=1 the server writes a name in small letters: a drill passes."""
    server = Server("--lower-case-table-names=1")
    try:
        with new_database(server, tmp_path, "MixedDb") as database:
            database.run(
                CONTENT.replace("NAME", "key")
                + "CREATE VIEW other AS SELECT body FROM MixedDb.Note, mysql.plugin;"
                "CREATE TABLE numbered (id INT DEFAULT NEXTVAL(Numbers) PRIMARY KEY);"
                "ALTER DATABASE CHARACTER SET latin1; CREATE PROCEDURE p() SELECT 1;"
                "ALTER DATABASE CHARACTER SET utf8mb4;"
            )
            manager, before = (
                BackupManager(database.engine, tmp_path / "backups", catalog=False),
                database.dump(),
            )
            backup = manager.create()
            manager.verify(backup, level="drill")
            database.run("CREATE TABLE junk (i INT); DROP VIEW other")
            replaced = database.dump()
            manager.restore(backup)
            assert database.dump() == before
            manager.undo_restore()
            assert database.dump() == replaced
            manager.restore(backup)
            assert database.dump() == before
    finally:
        server.remove()
