"""What a server's settings forbid a restore is said before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import obstacles
from soulsense_db.errors import BackupError, MissingRightError, UnsupportedDatabaseError

TRUST = "SET GLOBAL log_bin_trust_function_creators = 1"


@pytest.fixture(scope="module")
def logging() -> Iterator[Server]:
    """Return a server that writes a binary log."""
    made = Server("--log-bin=binlog", "--server-id=1", "--max-allowed-packet=16M")
    yield made
    made.remove()


@pytest.fixture
def database(logging: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a new and empty database; nothing is left beside it."""
    with new_database(logging, tmp_path) as made:
        yield made
        assert made.left() == set()


def _engine(database: Database, user: str) -> sa.Engine:
    return sa.create_engine(database.server.url(database.name, user=user), poolclass=NullPool)


def _manager(database: Database, user: str = "root") -> BackupManager:
    engine = _engine(database, user)
    return BackupManager(engine, database.folder / "backups", catalog=False, lock_timeout=8)


def test_a_binary_log_that_forbids_triggers_is_known_before(database: Database) -> None:
    """The user lacks SUPER: where the backup or the live database has triggers, it is refused."""
    database.run(
        f"CREATE USER u; GRANT ALL ON `{database.name}`.* TO u; GRANT SET USER ON *.* TO u;"
        "GRANT ALL ON `~soulsense\\_%`.* TO u; GRANT SELECT ON mysql.proc TO u;"
        "CREATE TABLE t (id INT PRIMARY KEY)"
    )
    try:
        manager = _manager(database, "u")
        plain = manager.create("plain")
        manager.restore(plain)  # nothing of that kind, and no obstacle
        trigger = "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1"
        database.run(trigger)
        backup, before = manager.create("one"), database.dump()
        for chosen in (backup, plain):
            [problem] = manager.can_restore(chosen).problems
            assert TRUST in str(problem)
            with pytest.raises(MissingRightError, match="trigger tr"):
                manager.restore(chosen)
        database.run("DROP TRIGGER tr")
        with pytest.raises(MissingRightError, match="trigger tr"):
            manager.restore(backup)
        database.run(TRUST)
        manager.restore(backup)
        assert database.dump() == before
    finally:
        database.run("SET GLOBAL log_bin_trust_function_creators = 0; DROP USER u")


@pytest.mark.parametrize(("right", "is_enough"), [("SUPER", True), ("BINLOG ADMIN", False)])
def test_a_binary_log_trusts_super_alone(database: Database, right: str, is_enough: bool) -> None:
    """Who has it makes triggers, and so restores them; what sounds like it is not enough."""
    trigger = "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1"
    database.run(
        f"CREATE USER u; GRANT ALL ON `{database.name}`.* TO u; GRANT {right} ON *.* TO u;"
        "GRANT SET USER ON *.* TO u; GRANT ALL ON `~soulsense\\_%`.* TO u;"
        f"GRANT SELECT ON mysql.proc TO u; CREATE TABLE t (id INT PRIMARY KEY); {trigger}"
    )
    try:
        manager = _manager(database, "u")
        backup, before = manager.create("one"), database.dump()
        database.run("DROP TRIGGER tr")
        # What the server itself says of it.
        with _engine(database, "u").connect() as connection:
            try:
                connection.exec_driver_sql(trigger)
                may_make = True
            except sa.exc.DBAPIError as error:
                assert "log_bin_trust_function_creators" in str(error)
                may_make = False
        assert may_make == is_enough
        if is_enough:
            database.run("DROP TRIGGER tr")
            assert manager.can_restore(backup).problems == ()
            manager.restore(backup)
            assert database.dump() == before
        else:
            [problem] = manager.can_restore(backup).problems
            assert TRUST in str(problem)
            with pytest.raises(MissingRightError, match="trigger tr"):
                manager.restore(backup)
    finally:
        database.run("DROP USER u")


def test_a_function_that_nobody_may_make_is_known_before(database: Database) -> None:
    """It was made before there was a log: with SUPER as well, the setting is what helps."""
    database.run(
        f"{TRUST}; CREATE FUNCTION plain() RETURNS INT RETURN 1;"
        "CREATE FUNCTION sure() RETURNS INT DETERMINISTIC RETURN 1;"
        "SET GLOBAL log_bin_trust_function_creators = 0"
    )
    manager = _manager(database)
    backup = manager.create("one")
    with pytest.raises(MissingRightError, match="none of these: function plain") as refused:
        manager.restore(backup)
    assert TRUST in str(refused.value)
    database.run("DROP FUNCTION plain")
    sure = manager.create("two")
    database.run("DROP FUNCTION sure")
    manager.restore(sure)


def test_events_whose_time_is_over_are_not_missed(database: Database) -> None:
    """The server drops or disables them as they are made: a restore ends well all the same."""
    zone = "SET time_zone = '-08:00';"
    database.run(
        f"{zone} CREATE EVENT once ON SCHEDULE AT NOW() + INTERVAL 2 SECOND DISABLE DO DO 1;"
        "CREATE EVENT ended ON SCHEDULE EVERY 1 SECOND STARTS NOW() ENDS NOW() + INTERVAL 2 SECOND"
        " DO DO 1;"
        "CREATE EVENT coming ON SCHEDULE AT NOW() + INTERVAL 1 DAY DO DO 1;"
        "CREATE EVENT stays ON SCHEDULE AT NOW() + INTERVAL 2 SECOND ON COMPLETION PRESERVE DO DO 1"
    )
    manager = _manager(database)
    backup = manager.create("one")
    database.run("DO SLEEP(3); DROP EVENT coming; DROP EVENT stays")
    manager.restore(backup)
    asked = "SELECT EVENT_NAME FROM information_schema.EVENTS ORDER BY 1"
    assert [one for one in database.run(asked).split() if one in ("coming", "stays")] == [
        "coming",
        "stays",
    ]
    manager.undo_restore()


def test_a_row_that_the_server_would_not_take_is_known_before(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes are twice as many in a dump: a backup warns, and a restore is refused at once."""
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY, data LONGBLOB);"
        "INSERT INTO t VALUES (1, REPEAT('x', 9000000)), (2, 'y')"
    )
    manager = _manager(database)
    backup = manager.create("one")
    mends = "SET GLOBAL max_allowed_packet = 18874368;"
    assert mends in caplog.text
    before = database.run("CHECKSUM TABLE t")
    database.run("DELETE FROM t WHERE id = 2")
    [problem] = manager.can_restore(backup).problems
    assert mends in str(problem)
    with pytest.raises(UnsupportedDatabaseError, match="max_allowed_packet"):
        manager.restore(backup)
    database.run(mends)
    try:
        manager.restore(backup)
    finally:
        database.run("SET GLOBAL max_allowed_packet = 16777216")
    assert database.run("CHECKSUM TABLE t") == before


def test_a_row_that_the_server_would_not_take_is_known_before_a_drill(database: Database) -> None:
    """Nor do a drill and the rows of a table begin what the server would end the connection for."""
    database.run(
        "CREATE TABLE t (id INT PRIMARY KEY, data LONGBLOB);"
        "INSERT INTO t VALUES (1, REPEAT('x', 9000000)), (2, 'y')"
    )
    manager = _manager(database)
    backup = manager.create("one")
    database.run("DELETE FROM t WHERE id = 2")
    mends = "SET GLOBAL max_allowed_packet = 18874368;"
    with pytest.raises(UnsupportedDatabaseError, match=mends):
        manager.restore_rows(backup, "t", "id = 2")
    with pytest.raises(BackupError, match="takes no statement that long"):
        manager.verify(backup, level="drill")


@pytest.mark.parametrize("is_too_long", [False, True])
def test_advice_helps_with_the_longest_rows(database: Database, is_too_long: bool) -> None:
    """A server takes 1 GiB at most: with a longer row, no setting is named, but what else helps."""
    longest = 2**30 - 1024 + is_too_long
    with (
        database.engine.connect() as connection,
        pytest.raises(UnsupportedDatabaseError) as refused,
    ):
        obstacles.require_packets(connection, longest, name=database.name)
    assert ("SET GLOBAL max_allowed_packet = 1073741824;" in str(refused.value)) != is_too_long
    assert ("Split its value into several rows" in str(refused.value)) == is_too_long


def test_an_undo_that_loads_nothing_needs_no_longer_statement(database: Database) -> None:
    """The replaced tables are there: whatever is in them, they only change places."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB); INSERT INTO t VALUES (1, 'y')")
    manager = _manager(database)
    backup = manager.create("without it")
    database.run("INSERT INTO t VALUES (2, REPEAT('x', 9000000))")
    before = database.run("CHECKSUM TABLE t")
    manager.restore(backup)
    manager.undo_restore()
    assert database.run("CHECKSUM TABLE t") == before
