"""Whatever MariaDB can hold is the same after it was backed up and restored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from server_peaks import peak_of

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db.drivers import Findings, QueryError

_TYPES = r"""
CREATE TABLE `every type` (
    id INT AUTO_INCREMENT PRIMARY KEY, tiny TINYINT UNSIGNED, big BIGINT UNSIGNED, bits BIT(17),
    exact DECIMAL(65, 30), pre FLOAT, doubled DOUBLE, day DATE, moment DATETIME(6),
    stamp TIMESTAMP(6) NULL, span TIME(6), year YEAR, letters VARCHAR(200), fixed BINARY(4),
    blobs LONGBLOB, story LONGTEXT, doc JSON, mood ENUM('good', 'it''s "bad"', 'ünwell, (so)'),
    tags SET('a', 'b'), place POINT, someone UUID, address INET6,
    twice INT AS (tiny * 2) VIRTUAL, kept VARCHAR(20) AS (CONCAT('<', tiny, '>')) STORED,
    hidden INT INVISIBLE DEFAULT 7, checked INT CHECK (checked <> 13),
    UNIQUE KEY letters_key (letters(50)), FULLTEXT KEY words (story)
) AUTO_INCREMENT = 4711 COMMENT = 'it''s "so"; \\ -- /* no end';
SET time_zone = '+05:30', sql_mode = '';
INSERT INTO `every type` SET tiny = 255, big = 18446744073709551615, bits = b'10000000000000001',
    exact = 12345678901234567890123456789012345.123456789012345678901234567891, pre = 1.5,
    doubled = 1.7976931348623157e308, day = '0000-00-00', moment = '2024-02-30 00:00:00',
    stamp = '2024-03-31 02:30:00.123456', span = '-838:59:58.999999', year = 1901,
    letters = 'naïve 日本 😀 \0 \n \r \t \Z \\ '' " ` ; -- # /* (', fixed = 'a', blobs = '',
    story = '(1),\n(2);\nINSERT INTO `other` VALUES\n(3);', doc = '{"a": [1, "\\n"]}',
    mood = 'it''s "bad"', tags = 'a,b', place = POINT(1.5, -2), someone = UUID(), address = '::1';
INSERT INTO `every type` (tiny, day, mood) VALUES (NULL, '2024-00-15', ''), (0, NULL, NULL);
INSERT INTO `every type` (id, doubled, pre) VALUES (0, 1e-300, 0.25);
CREATE TABLE blobs (id INT PRIMARY KEY, data LONGBLOB, text LONGTEXT);
"""
_FAMILY = """
CREATE TABLE parent (id INT PRIMARY KEY, favourite INT);
CREATE TABLE child (id INT PRIMARY KEY, parent_id INT NOT NULL,
    CONSTRAINT `my key` FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE CASCADE);
ALTER TABLE parent ADD CONSTRAINT back FOREIGN KEY (favourite) REFERENCES child (id);
SET foreign_key_checks = 0;
INSERT INTO parent VALUES (1, 10), (2, 20);
INSERT INTO child VALUES (10, 1), (20, 2);
CREATE TABLE selfish (id INT PRIMARY KEY, above INT, FOREIGN KEY (above) REFERENCES selfish (id));
INSERT INTO selfish VALUES (1, 2), (2, 1);
CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what TEXT);
DELIMITER //
CREATE TRIGGER b_first BEFORE INSERT ON child FOR EACH ROW SET NEW.id = NEW.id + 100//
CREATE TRIGGER a_second BEFORE INSERT ON child FOR EACH ROW SET NEW.id = NEW.id * 2//
CREATE TRIGGER tells AFTER DELETE ON child FOR EACH ROW
BEGIN INSERT INTO log (what) VALUES (CONCAT('gone; ', OLD.id, 'ü')); END//
SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'//
CREATE TRIGGER ansi AFTER UPDATE ON child FOR EACH ROW
INSERT INTO log (what) VALUES ('new' || NEW."id")//
DELIMITER ;
"""
_PARTS = """
CREATE TABLE parts (id INT, day DATE, PRIMARY KEY (id, day)) PARTITION BY RANGE (YEAR(day))
    SUBPARTITION BY HASH (id) SUBPARTITIONS 2
    (PARTITION early VALUES LESS THAN (2020), PARTITION late VALUES LESS THAN MAXVALUE);
INSERT INTO parts VALUES (1, '2019-01-01'), (2, '2021-01-01');
CREATE TABLE versioned (id INT PRIMARY KEY, value INT) WITH SYSTEM VERSIONING;
INSERT INTO versioned VALUES (1, 1), (2, 1);
UPDATE versioned SET value = 2 WHERE id = 1;
DELETE FROM versioned WHERE id = 2;
CREATE SEQUENCE numbers START WITH 5 INCREMENT BY 3 CACHE 10;
CREATE TABLE numbered (id INT DEFAULT NEXTVAL(numbers) PRIMARY KEY, what TEXT);
INSERT INTO numbered (what) VALUES ('a'), ('b');
CREATE TABLE isam (id INT AUTO_INCREMENT PRIMARY KEY, what TEXT) ENGINE = MyISAM;
CREATE TABLE aria (id INT PRIMARY KEY, what TEXT) ENGINE = Aria;
INSERT INTO isam (what) VALUES ('x'); INSERT INTO aria VALUES (1, 'y');
CREATE TABLE keyless (what TEXT); INSERT INTO keyless VALUES ('same'), ('same'), (NULL);
CREATE TABLE empty (id INT PRIMARY KEY);
"""
_PROGRAMS = """
CREATE TABLE base (id INT PRIMARY KEY, what VARCHAR(20) CHARACTER SET latin1);
INSERT INTO base VALUES (1, 'é');
DELIMITER //
CREATE FUNCTION plus_one(x INT) RETURNS INT DETERMINISTIC COMMENT 'it''s' RETURN x + 1//
CREATE PROCEDURE `odd name; --`(IN x INT, OUT y INT) SQL SECURITY INVOKER
BEGIN SELECT 'ü; //' INTO @a; SET y = plus_one(x); END//
SET sql_mode = 'ORACLE'//
CREATE PACKAGE pack AS FUNCTION f1 RETURN INT; END//
CREATE PACKAGE BODY pack AS FUNCTION f1 RETURN INT AS BEGIN RETURN 1; END; END//
SET sql_mode = ''//
CREATE EVENT ticking ON SCHEDULE EVERY 1 HOUR STARTS '2020-01-01 00:00:00' ON COMPLETION PRESERVE
    COMMENT 'tick' DO DELETE FROM base WHERE id < 0//
CREATE EVENT stopped ON SCHEDULE EVERY 1 DAY DISABLE DO BEGIN DO 1; END//
DELIMITER ;
CREATE VIEW z_first AS SELECT id, plus_one(id) AS next FROM base;
CREATE VIEW a_second AS SELECT z_first.next FROM z_first JOIN base USING (id);
CREATE ALGORITHM = MERGE SQL SECURITY INVOKER VIEW checked AS
    SELECT * FROM base WHERE id > 0 WITH CASCADED CHECK OPTION;
"""
_NAMES = """
CREATE TABLE `MixedCase` (`Id` INT PRIMARY KEY, `sel``ect` INT, `a.b` INT, `p%c` INT, `c:d` INT);
INSERT INTO `MixedCase` VALUES (1, 2, 3, 4, 5);
CREATE TABLE mixedcase (id INT PRIMARY KEY); INSERT INTO mixedcase VALUES (1);
CREATE TABLE `x``y "z" 'q' %s :p \\ .t` (`(odd), VALUES` INT PRIMARY KEY);
INSERT INTO `x``y "z" 'q' %s :p \\ .t` VALUES (1), (2);
CREATE TABLE `日本ü` (`名` TEXT); INSERT INTO `日本ü` VALUES ('本');
CREATE TABLE `-t` (id INT); CREATE TABLE `#t` (id INT);
CREATE TABLE `VALUES` (`KEY` INT PRIMARY KEY);
CREATE TABLE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (id INT);
CREATE VIEW `v``w` AS SELECT * FROM `x``y "z" 'q' %s :p \\ .t`;
"""
_ALL = {"types": _TYPES, "family": _FAMILY, "parts": _PARTS, "programs": _PROGRAMS, "names": _NAMES}


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a new and empty database; nothing is left beside it."""
    with new_database(server, tmp_path) as made:
        yield made
        assert made.left() == set()


@pytest.mark.parametrize("kind", _ALL)
def test_all_that_there_is_comes_back(database: Database, kind: str) -> None:
    """A restore over other content brings back every statement and every row."""
    database.run(_ALL[kind])
    before = database.dump()
    path = database.snapshot()
    assert database.driver.check(path, level="full") == Findings()
    for name in database.run(
        "SELECT CONCAT(TABLE_TYPE = 'VIEW', '`', REPLACE(TABLE_NAME, '`', '``'), '`')"
        f" FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{database.name}'"
        " AND TABLE_TYPE <> 'SEQUENCE' AND TABLE_NAME NOT LIKE '%q%' AND TABLE_NAME NOT LIKE 'v%'"
    ).splitlines():
        what = "VIEW" if name[0] == "1" else "TABLE"
        database.run(f"SET foreign_key_checks = 0; DROP {what} {name[1:]}")
    database.run("CREATE TABLE later (id INT); CREATE VIEW later_view AS SELECT 1 AS x;")
    database.driver.load(path)
    assert database.dump() == before
    database.driver.check_loaded(database.driver.schema_of(path))
    assert database.driver.compare(path, ignore=()).identical


@pytest.mark.parametrize("kind", _ALL)
def test_the_programs_alone_load_a_backup(
    database: Database, server: Server, tmp_path: Path, kind: str
) -> None:
    """A backup is SQL that the program mariadb loads, without anything of ours."""
    database.run(_ALL[kind])
    path = database.snapshot()
    with new_database(server, tmp_path) as other:
        if kind == "parts":  # a default names the schema of its sequence
            other.run(path.read_text().replace(f"`{database.name}`.", f"`{other.name}`."))
        else:
            other.run(path.read_text())
        here, there = (one.dump().replace(one.name, "NAME") for one in (database, other))
        assert there == here
        assert database.left() == {other.name}


@pytest.mark.parametrize("kind", _ALL)
def test_a_drill_has_all_rows(database: Database, tmp_path: Path, kind: str) -> None:
    """What a drill restores is in a database of its own, which is gone afterwards."""
    database.run(_ALL[kind])
    path = database.snapshot()
    scratch = database.driver.scratch(tmp_path / "drill")
    assert scratch is not None
    try:
        scratch.rebuild(path, facts={}, stamp="now")
        found = scratch.examine()
        assert found.row_counts == database.driver.count_rows(path)
        assert scratch.query("SELECT 1 % 2") == ((1,),)
        with pytest.raises(QueryError, match="semicolon"):  # some libraries send several
            scratch.query("SELECT 1) AS a; COMMIT; DROP TABLE a; SELECT * FROM (SELECT 1")
    finally:
        scratch.discard()


def test_large_values_and_all_bytes_come_back(database: Database) -> None:
    """Each byte, alone and in values of 1 MB and 16 MB, is the same; as is a text of 5 MB."""
    database.run(_TYPES)
    everything = "".join(f"{number:02x}" for number in range(256))
    database.run(
        f"INSERT INTO blobs VALUES (1, REPEAT(X'{everything}', 4096), REPEAT('ü(\\n\\'', 1250000)),"
        f" (2, REPEAT(X'{everything}', 65536), NULL)"
    )
    asked = "SELECT id, LENGTH(data), MD5(data), MD5(text) FROM blobs ORDER BY id"
    before = database.run(asked)
    path = database.snapshot()
    assert database.driver.check(path, level="full") == Findings()
    database.run("DELETE FROM blobs")
    database.driver.load(path)
    assert database.run(asked) == before


def test_large_values_take_no_memory(database: Database, tmp_path: Path) -> None:
    """Values of 16 MB are backed up, verified, restored and given back in less than 100 MB."""
    database.run(
        "CREATE TABLE large (id INT PRIMARY KEY, data LONGBLOB);"
        "INSERT INTO large VALUES (1, REPEAT(X'00FF', 8388608)), (2, REPEAT(X'27', 16777000));"
    )
    calls = ("create", "verify", "restore", "undo_restore")
    assert peak_of(database.server.url(database.name), tmp_path, *calls) < 100


def test_the_next_number_is_the_one_of_the_backup(database: Database) -> None:
    """AUTO_INCREMENT goes on where the backup was, and so does a sequence."""
    database.run(_TYPES + _PARTS)
    path = database.snapshot()
    database.run("INSERT INTO `every type` () VALUES (), (); SELECT NEXTVAL(numbers);")
    database.driver.load(path)
    database.run("INSERT INTO `every type` () VALUES ()")
    # 4711 to 4714 were given before.
    assert database.run("SELECT MAX(id) FROM `every type`") == "4715\n"
    assert int(database.run("SELECT NEXTVAL(numbers)")) > 8


def test_triggers_fire_in_their_order_after_a_restore(database: Database) -> None:
    """The order of triggers, and the mode in which each was made, are those of the backup."""
    database.run(_FAMILY)
    path = database.snapshot()
    database.run("DROP TRIGGER b_first; DROP TRIGGER ansi")
    database.driver.load(path)
    database.run("INSERT INTO child VALUES (1, 1); UPDATE child SET parent_id = 2 WHERE id = 202;")
    assert database.run("SELECT what FROM log") == "new202\n"


def test_history_comes_back(database: Database) -> None:
    """A versioned table has the rows that it had then, and can tell of the time in between."""
    database.run(_PARTS)
    asked = "SELECT id, value, ROW_START, ROW_END FROM versioned FOR SYSTEM_TIME ALL ORDER BY 1, 3"
    before = database.run(asked)
    path = database.snapshot()
    database.run("DELETE FROM versioned; DELETE HISTORY FROM versioned")
    database.driver.load(path)
    assert database.run(asked) == before


@pytest.mark.parametrize("name", ["My-App é", "日本", "a.b%c :d", "-x", "q'uote\"s"])
def test_a_database_may_have_any_name(server: Server, tmp_path: Path, name: str) -> None:
    """Names need quotation marks everywhere, and get them."""
    with new_database(server, tmp_path, name) as database:
        database.run(_FAMILY)
        before = database.dump()
        path = database.snapshot()
        database.run("SET foreign_key_checks = 0; DELETE FROM child")
        database.driver.load(path)
        assert database.dump() == before
        assert database.driver.compare(path, ignore=()).identical
        assert database.left() == set()


def test_a_database_in_latin1_keeps_its_letters(server: Server, tmp_path: Path) -> None:
    """What was made by a client of another character set is the same, triggers too."""
    with new_database(server, tmp_path, charset="latin1") as database:
        database.run(
            "CREATE TABLE t (id INT PRIMARY KEY, what VARCHAR(20) DEFAULT 'é'); SET NAMES latin1;"
        )
        with database.engine.begin() as connection:
            connection.exec_driver_sql("SET NAMES latin1")
            raw = connection.connection.cursor()
            raw.execute(
                "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.what = 'é'".encode(
                    "latin1"
                )
            )
            raw.execute("CREATE PROCEDURE p() SELECT 'é'".encode("latin1"))
        before = database.dump("--default-character-set=latin1")
        path = database.snapshot()
        database.run("DROP TRIGGER tr; DROP PROCEDURE p; DROP TABLE t")
        database.driver.load(path)
        assert database.dump("--default-character-set=latin1") == before
        database.run("INSERT INTO t (id) VALUES (1)")
        assert database.run("SELECT HEX(what), what FROM t") == "E9\té\n"
