"""What mariadb-dump alone has written becomes a backup when it is imported, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import foreign_dump
from soulsense_db.errors import InvalidBackupError, TruncatedBackupError

CONTENT = r"""
CREATE TABLE `no``te` (id INT AUTO_INCREMENT PRIMARY KEY, body TEXT COMMENT 'a;\n -- "x"',
    data BLOB, amount DOUBLE, twice INT AS (id * 2) VIRTUAL, at TIMESTAMP(3) NULL,
    odd VARCHAR(20) DEFAULT ';', CHECK (body NOT LIKE '%no%'));
INSERT INTO `no``te` (body, data, amount, at) VALUES
    ('a;\n''x\\', 0x00ff0a27, 1e-300, '2026-01-02 03:04:05.678'), (NULL, NULL, -1.5, NULL),
    ('),(1', '', 0, NULL), ('naïve 日本 😀 \0 \r \t \Z " ` ; -- # /* (', 'x', 1, NULL);
CREATE TABLE parent (id INT PRIMARY KEY);
CREATE TABLE child (id INT PRIMARY KEY, parent_id INT,
    FOREIGN KEY (parent_id) REFERENCES parent (id));
INSERT INTO parent VALUES (1), (2);
INSERT INTO child VALUES (10, 1), (20, 2);
CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2;
INSERT INTO parts SELECT seq FROM seq_1_to_3000;
CREATE TABLE history (a INT) WITH SYSTEM VERSIONING;
INSERT INTO history VALUES (1); UPDATE history SET a = 2;
CREATE TABLE none (a INT);
CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0001');
CREATE SEQUENCE numbers START WITH 7;
CREATE VIEW b_second AS SELECT id FROM parent WHERE id > 1 WITH CHECK OPTION;
CREATE VIEW a_first AS SELECT b_second.id, 'a;' AS text FROM b_second;
DELIMITER //
CREATE TRIGGER {0}.counts BEFORE INSERT ON {0}.parent FOR EACH ROW
BEGIN SET NEW.id = NEW.id + 100; END//
SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'//
CREATE TRIGGER ansi AFTER UPDATE ON parts FOR EACH ROW SET @a = 'x' || NEW."id"//
SET sql_mode = DEFAULT//
CREATE PROCEDURE tells (a INT) BEGIN SELECT 'one; two' AS "x"; /* no end */ SELECT a; END//
CREATE FUNCTION twice (a INT) RETURNS INT DETERMINISTIC RETURN a * 2//
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO DELETE FROM none//
DELIMITER ;
"""
VIEWS = ("a_first", "b_second")
ALL = ("--routines", "--events", "--triggers")


@pytest.fixture
def shop(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a database with what mariadb-dump knows."""
    with new_database(server, tmp_path) as made:
        made.run(CONTENT.replace("{0}", made.name))
        made.run("SET GLOBAL event_scheduler = OFF")
        try:
            yield made
        finally:
            made.run("SET GLOBAL event_scheduler = ON")


@pytest.fixture
def manager(shop: Database, tmp_path: Path) -> BackupManager:
    """Return a manager of it."""
    return BackupManager(shop.engine, tmp_path / "backups", catalog=False)


def _dumped(shop: Database, *options: str, name: str = "app.sql", of: str = "") -> Path:
    path = shop.folder / name
    done = subprocess.run(
        [
            *("mariadb-dump", "--no-defaults", f"--socket={shop.server.socket}", "--user=root"),
            *(*options, *([] if of else [shop.name])),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(done.stdout)
    return path


@pytest.mark.parametrize(
    "options",
    [
        (*ALL, "--dump-history"),
        (*ALL, "--opt", "--hex-blob"),
        (*ALL, "--skip-extended-insert", "--complete-insert", "--single-transaction"),
        (
            *ALL,
            "--skip-opt",
            "--create-options",
            "--insert-ignore",
            "--add-drop-trigger",
        ),
        (*ALL, "--replace", "--order-by-primary", "--no-autocommit", "--skip-add-drop-table"),
        ("--skip-triggers",),
    ],
    ids=" ".join,
)
def test_all_of_it_is_imported_and_restored(
    shop: Database, manager: BackupManager, options: tuple[str, ...]
) -> None:
    """With the options that people use: counts, revisions, programs; a restore brings it back."""
    before, others = _content(shop, options), shop.left()
    info = manager.import_file(_dumped(shop, *options), "of the old script")
    assert shop.left() == others
    assert info.kind == "imported"
    assert info.alembic_heads == ("0001",)
    counts = dict(info.row_counts or {})
    assert counts.pop("history") == (2 if "--dump-history" in options else 1)
    assert counts == {
        "alembic_version": 1,
        "child": 2,
        "no`te": 4,
        "none": 0,
        "parent": 2,
        "parts": 3000,
    }
    manager.verify(info, level="full")
    shop.run("DELETE FROM child; DROP TABLE none; DROP VIEW a_first")
    manager.restore(info)
    assert _content(shop, options) == before


def _content(shop: Database, options: tuple[str, ...]) -> str:
    """Return what is in the database, as far as a dump with ``options`` has it."""
    # When a row was changed is only in a dump with its history.
    history = [] if "--dump-history" in options else ["--skip-dump-history"]
    programs = ["--skip-triggers", "--skip-routines", "--skip-events"]
    text = shop.dump(*history, *(programs if "--skip-triggers" in options else []))
    return text.replace(f"{shop.name}.", "")  # in front of a trigger, it is left out


def test_a_schema_alone_is_imported(shop: Database, manager: BackupManager) -> None:
    """Tables without rows, where there is none in the file."""
    info = manager.import_file(_dumped(shop, "--no-data"))
    assert set((info.row_counts or {}).values()) == {0}


def test_half_of_it_is_refused(shop: Database, manager: BackupManager, tmp_path: Path) -> None:
    """Wherever it was cut off, and also where only some lines in the middle are gone."""
    whole = _dumped(shop, *ALL).read_bytes()
    half = tmp_path / "half.sql"
    for part in range(1, 10):
        half.write_bytes(whole[: len(whole) * part // 10])
        with pytest.raises(TruncatedBackupError, match="lacks its end"):
            manager.import_file(half)
    half.write_bytes(whole.replace(b"CREATE TABLE `none`", b"CREATE TABLE `parent`"))
    with pytest.raises(InvalidBackupError, match="cannot be loaded"):
        manager.import_file(half)
    assert manager.list() == []
    assert shop.left() == set()


def test_it_is_as_old_as_it_says(shop: Database, manager: BackupManager) -> None:
    """Its last line has the date of its making; without that, the file is as old as its data."""
    manager.create("later")
    dump = _dumped(shop)
    text = dump.read_text(encoding="utf-8", errors="surrogateescape")
    dated = re.sub(r"(-- Dump completed on ).*", r"\g<1>2021-02-03  4:05:06", text)
    dump.write_text(dated, encoding="utf-8", errors="surrogateescape")
    assert manager.import_file(dump).created_at == datetime(2021, 2, 3, 4, 5, 6).astimezone(UTC)
    undated = _dumped(shop, "--skip-dump-date")
    os.utime(undated, (10**9, 10**9))
    assert manager.import_file(undated).created_at == datetime.fromtimestamp(10**9, UTC)
    assert manager.get("latest").description == "later"


@pytest.mark.parametrize("options", [("--databases", "{0}"), ("--all-databases",)])
def test_dumps_of_several_databases_are_refused(
    shop: Database, manager: BackupManager, options: tuple[str, ...]
) -> None:
    """They say themselves where they are loaded, which may be the live database."""
    named = [one.replace("{0}", shop.name) for one in options]
    with pytest.raises(InvalidBackupError, match="which databases it is for"):
        manager.import_file(_dumped(shop, *named, of="several"))


TABLE = "CREATE TABLE `evil` (\n  `a` int(11) DEFAULT NULL{0}\n){1};"


REFUSED = [
    "GRANT ALL ON *.* TO x;",
    "DROP DATABASE `{live}`;",
    "/*!50001 DROP DATABASE `{live}` */;",
    "USE `{live}`;",
    "DROP TABLE `{live}`.`parent`;",
    "DELETE FROM parent;",
    "SELECT 1 INTO OUTFILE '/tmp/x';",
    "SET GLOBAL event_scheduler = ON;",
    "INSERT INTO `{live}`.`parent` VALUES\n(7);",
    "INSERT INTO `parent` VALUES\n(sleep(9));",
    "INSERT INTO `parent` VALUES\n((SELECT 1));",
    "INSERT INTO `parent` VALUES\n(9); DELETE FROM `{live}`.`parent`;",
    "INSERT INTO `parent` VALUES\n(9)\n",
    "INSERT INTO `par\\ent` VALUES\n(9);",
    "INSERT INTO `unknown` VALUES\n(9);",
    "INSERT INTO `parent` SELECT 1;",
    "\\! touch {mark}",
    "system touch {mark}",
    "source /etc/passwd",
    "DELIMITER $$",
    "/*!40101 SET NAMES sjis */;",
    TABLE.replace("{0}", "").replace("{1}", " SELECT 1 AS a"),
    TABLE.replace("{0}", "").replace("{1}", " AS TABLE `{live}`.`parent`"),
    TABLE.replace("{0}", "").replace("{1}", " ENGINE=CONNECT"),
    TABLE.replace("{0}", "").replace("{1}", " DATA DIRECTORY='/tmp'"),
    TABLE.replace("{0}", "").replace("{1}", "; DROP TABLE `{live}`.`parent`"),
    TABLE.replace("{0}", ' COMMENT "\'"').replace("{1}", " SELECT 1 COMMENT = '"),
    TABLE.replace("{0}", ",\n FOREIGN KEY (`a`) REFERENCES `{live}`.`parent` (`id`)").replace(
        "{1}", ""
    ),
    TABLE.replace("{0}", " DEFAULT nextval(`{live}`.`numbers`)").replace("{1}", ""),
    "DELIMITER ;;\nCREATE DEFINER=`root`@`localhost` PROCEDURE `{live}`.`p`() SELECT 1 ;;\n"
    "DELIMITER ;",
    "DELIMITER ;;\nCREATE DEFINER=`root`@`localhost` FUNCTION `f` RETURNS INT SONAME 'x.so' ;;",
    "DELIMITER ;;\nDROP TABLE parent ;;\nDELIMITER ;",
    "CREATE PROCEDURE p() SELECT 1;",
]


def test_what_the_program_does_not_write_is_refused(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """Somebody's own statements would run with all rights: none of the file is executed then."""
    mark = tmp_path / "mark"
    views = (f"--ignore-table={shop.name}.{one}" for one in VIEWS)
    dump = _dumped(shop, "--skip-triggers", *views)
    text = dump.read_text(encoding="utf-8", errors="surrogateescape")
    before = shop.dump()
    for line in REFUSED:
        named = line.replace("{live}", shop.name).replace("{mark}", str(mark))
        for place in ("\n-- Dump completed", "\n--\n-- Table structure for table `parts`"):
            assert text.count(place) == 1
            edited = text.replace(place, f"\n{named}\n{place}")
            dump.write_text(edited, encoding="utf-8", errors="surrogateescape")
            with pytest.raises(InvalidBackupError):
                foreign_dump.read(dump)
        if line in REFUSED[::6]:
            with pytest.raises(InvalidBackupError):
                manager.import_file(dump)
    assert shop.dump() == before
    assert shop.left() == set()
    assert not mark.exists()
    assert manager.list() == []


def test_a_program_is_one_statement(shop: Database, manager: BackupManager) -> None:
    """A second one behind a procedure's is not run: the server takes one, or nothing."""
    dump = _dumped(shop, "--skip-triggers", "--routines")
    text = dump.read_bytes()
    evil = f"RETURN a * 2; DROP TABLE `{shop.name}`.`parent`".encode()
    assert text.count(b"RETURN a * 2") == 1
    dump.write_bytes(text.replace(b"RETURN a * 2", evil))
    with pytest.raises(InvalidBackupError, match="cannot be loaded"):
        manager.import_file(dump)
    assert shop.run("SELECT COUNT(*) FROM parent").strip() == "2"
    assert shop.left() == set()


def test_triggers_are_not_made_in_the_live_database(shop: Database, manager: BackupManager) -> None:
    """A trigger keeps the name of its database as it was typed: it is made in the new one."""
    dump = _dumped(shop)
    assert f"TRIGGER {shop.name}.counts" in dump.read_text(encoding="utf-8", errors="replace")
    shop.run("DROP TRIGGER counts")
    manager.import_file(dump)
    assert "counts" not in shop.run("SHOW TRIGGERS")


def test_events_are_not_run(shop: Database, manager: BackupManager) -> None:
    """Where the server would run them while they are loaded, the import is refused."""
    dump = _dumped(shop, "--events")
    shop.run("SET GLOBAL event_scheduler = ON")
    with pytest.raises(InvalidBackupError, match="has events"):
        manager.import_file(dump)
    manager.import_file(_dumped(shop))
    assert shop.left() == set()


KILLED = """
import os, sys
import sqlalchemy as sa
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import foreign

foreign.snapshot.write = lambda *arguments, **keywords: os._exit(9)
url, directory, dump = sys.argv[1:]
BackupManager(sa.create_engine(url), directory, catalog=False).import_file(dump)
"""


def test_a_kill_leaves_nothing(shop: Database, manager: BackupManager, tmp_path: Path) -> None:
    """The next backup drops the database that was made, and removes the file."""
    dump = _dumped(shop, *ALL)
    url = shop.engine.url.render_as_string(hide_password=False)
    words = [sys.executable, "-c", KILLED, url, str(tmp_path / "backups"), str(dump)]
    assert subprocess.run(words, check=False).returncode == 9
    (made,) = shop.left()
    while shop.run(f"SELECT IS_FREE_LOCK('{made}')").strip() != "1":
        pass  # the server has not noticed yet that its connection is gone
    manager.create()
    assert shop.left() == set()
    assert len(list((tmp_path / "backups").glob(".*staging*"))) == 0


def test_a_newer_server_is_not_followed(shop: Database, manager: BackupManager) -> None:
    """Its statements need not be known here; a dump of MySQL is none of MariaDB."""
    dump = _dumped(shop)
    text = dump.read_bytes()
    dump.write_bytes(text.replace(b"-- Server version\t10.", b"-- Server version\t99."))
    with pytest.raises(InvalidBackupError, match=r"MariaDB 99\."):
        manager.import_file(dump)
    dump.write_bytes(text.replace(b"-- MariaDB dump", b"-- MySQL dump").replace(b"-MariaDB", b""))
    with pytest.raises(InvalidBackupError, match="a dump of MySQL, and not a backup of a MariaDB"):
        manager.import_file(dump)
