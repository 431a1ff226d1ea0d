"""Tables that the server locks together, because of foreign keys or triggers, can be restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from mariadb_driver.databases import new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager

TABLES = """
CREATE TABLE parent (id INT PRIMARY KEY);
CREATE TABLE child (id INT PRIMARY KEY, parent_id INT{key});
CREATE TABLE audit (said TEXT);
CREATE TABLE `odd``one` (id INT PRIMARY KEY);
CREATE TRIGGER `of_odd` BEFORE INSERT ON `odd``one` FOR EACH ROW SET @b = 1;
CREATE VIEW `all of them` AS SELECT id FROM parent;
CREATE PROCEDURE look() SELECT count(*) INTO @found FROM `all of them`;
INSERT INTO parent VALUES (1), (2);
INSERT INTO child VALUES (1, 1), (2, 2);
"""
KEY = ", FOREIGN KEY (parent_id) REFERENCES parent (id)"
OF_PARENT = "CREATE TRIGGER of_parent BEFORE INSERT ON parent FOR EACH ROW SET NEW.id = NEW.id + 1;"
OF_CHILD = "CREATE TRIGGER of_child AFTER INSERT ON child FOR EACH ROW {body};"
LINKS = {
    "foreign key": (KEY, "SET @a = 1"),
    "cascade": (f"{KEY} ON DELETE CASCADE ON UPDATE CASCADE", "SET @a = 1"),
    "writes": ("", "INSERT INTO parent VALUES (NEW.id + 100)"),
    "reads": ("", "SET @a = (SELECT max(id) FROM parent)"),
    "routine": ("", "CALL `look`()"),
    "backticks": ("", "INSERT INTO `odd``one` VALUES (NEW.id)"),
    "none": ("", "INSERT INTO audit VALUES ('child')"),
}


@pytest.mark.parametrize(
    ("link", "of_live", "of_backup"),
    [
        *((link, True, True) for link in LINKS),
        ("foreign key", True, False),
        ("foreign key", False, True),
    ],
)
def test_linked_tables_with_triggers_are_restored(
    server: Server, tmp_path: Path, link: str, of_live: bool, of_backup: bool
) -> None:
    """Whether the backup or the live database has the triggers; an undo brings the other back."""
    with new_database(server, tmp_path) as database:
        key, body = LINKS[link]
        triggers = OF_PARENT + OF_CHILD.format(body=body)
        database.run(TABLES.format(key=key))
        if of_backup:
            database.run(triggers)
        manager = BackupManager(database.engine, tmp_path, catalog=False, lock_timeout=5)
        manager.create()
        backup = database.dump()
        if of_backup and not of_live:
            database.run("DROP TRIGGER of_parent; DROP TRIGGER of_child")
        if of_live and not of_backup:
            database.run(triggers)
        database.run("DELETE FROM child WHERE id = 2")
        before = database.dump()
        manager.restore("latest")
        assert database.dump() == backup
        manager.undo_restore()
        assert database.dump() == before


def test_names_in_quotation_marks_are_names(server: Server, tmp_path: Path) -> None:
    """With ANSI_QUOTES, a trigger names the other table with triggers like this."""
    with new_database(server, tmp_path) as database:
        database.run(
            """SET sql_mode = 'ANSI_QUOTES';
            CREATE TABLE "odd one" (id INT PRIMARY KEY);
            CREATE TABLE "other-1" (id INT PRIMARY KEY);
            CREATE TRIGGER t1 BEFORE INSERT ON "odd one" FOR EACH ROW SET @a = 1;
            CREATE TRIGGER t2 BEFORE INSERT ON "other-1" FOR EACH ROW
                INSERT INTO "odd one" VALUES (NEW.id + 5);
            INSERT INTO "other-1" VALUES (1);"""
        )
        manager = BackupManager(database.engine, tmp_path, catalog=False, lock_timeout=5)
        manager.create()
        asked = (
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_STATEMENT, SQL_MODE FROM"
            f" information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{database.name}' ORDER BY 1;"
            "SELECT * FROM `odd one`; SELECT * FROM `other-1`"
        )
        before = database.run(asked)  # a dump has the names as they were typed
        database.run("INSERT INTO `other-1` VALUES (2)")
        manager.restore("latest")
        assert database.run(asked) == before
