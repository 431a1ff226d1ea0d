"""What is of the database itself and no dump has: a restore must be able to give it to another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from postgresql import content
from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.errors import DatabaseUnreachableError, MissingRightError

pytestmark = on_newest
_ROLES = ("bel_app", "bel_bob", "bel_cyd")


@pytest.fixture
def shop(server: Server) -> Iterator[Database]:
    """Return a database of a user who may make others."""
    with Database(server) as made:
        for role in _ROLES:
            made.maintain(f"CREATE ROLE {role} LOGIN")
        made.maintain("ALTER ROLE bel_app CREATEDB")
        made.maintain("GRANT pg_signal_backend TO bel_app")
        made.maintain("ALTER DATABASE {} OWNER TO bel_app")
        yield made
        content.drop_kept(server)
        made.execute(
            *(f"REASSIGN OWNED BY {role} TO postgres" for role in _ROLES),
            *(f"DROP OWNED BY {role} CASCADE" for role in _ROLES),
        )
        made.maintain("ALTER DATABASE {} OWNER TO postgres")
        for role in reversed(_ROLES):
            made.maintain(f"DROP OWNED BY {role} CASCADE")
            made.maintain(f"DROP ROLE {role}")


@pytest.fixture
def manager(shop: Database, tmp_path: Path) -> Iterator[BackupManager]:
    """Return a manager of the owner, with a backup of an older state."""
    engine = sa.create_engine(shop.server.url(shop.name, user="bel_app"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE note (id int)")
    made = BackupManager(engine, tmp_path / "backups", tools=shop.server.bin)
    made.create()
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO note VALUES (1)")
    yield made
    engine.dispose()


@pytest.mark.parametrize(
    "given",
    [
        "ALTER DATABASE {} SET log_min_duration_statement = '1s'",
        "ALTER ROLE bel_bob IN DATABASE {} SET search_path = public",
    ],
)
def test_a_setting_that_an_administrator_gave_is_found_before(
    shop: Database, manager: BackupManager, given: str
) -> None:
    """The owner may not give it to the restored database: the look before says so, too."""
    shop.maintain(given)
    (problem,) = manager.can_restore("latest").problems
    assert isinstance(problem, MissingRightError)
    with pytest.raises(MissingRightError):
        manager.restore("latest")
    assert shop.scalar("SELECT count(*) FROM note") == 1
    assert shop.scalar("SELECT count(*) FROM pg_db_role_setting WHERE setdatabase <> 0") == 1
    if "bel_bob" in given:
        assert "RESET ALL" in problem.hint
        shop.maintain(problem.hint.partition(": ")[2].partition(";")[0])
        assert manager.can_restore("latest").ok
    if "log_min" in given:
        assert "GRANT SET ON PARAMETER log_min_duration_statement TO bel_app" in problem.hint
        shop.maintain("GRANT SET ON PARAMETER log_min_duration_statement TO bel_app")
        manager.restore("latest")
        assert shop.scalar("SHOW log_min_duration_statement") == "1s"


def test_rights_that_were_passed_on_do_not_keep_an_undo_from_it(
    shop: Database, manager: BackupManager
) -> None:
    """Each of the roles has its right after a restore, after an undo, and after a redo."""
    shop.maintain("REVOKE CONNECT ON DATABASE {} FROM PUBLIC")  # else all have it anyway
    shop.maintain("GRANT CONNECT ON DATABASE {} TO bel_bob WITH GRANT OPTION")
    bob = sa.create_engine(shop.server.url(shop.name, user="bel_bob"), isolation_level="AUTOCOMMIT")
    with bob.connect() as connection:
        connection.exec_driver_sql(f'GRANT CONNECT ON DATABASE "{shop.name}" TO bel_cyd')
    bob.dispose()
    manager.restore("latest")
    for rows in (1, 0):
        manager.undo_restore()
        assert shop.scalar("SELECT count(*) FROM note") == rows
        has = f"SELECT has_database_privilege('bel_cyd', '{shop.name}', 'CONNECT')"
        assert shop.scalar(has)


def test_what_cannot_be_dropped_to_its_end_is_no_way_back(
    shop: Database, manager: BackupManager
) -> None:
    """A kept database whose DROP was cut off cannot be used: the undo takes the safety backup.

    It is gone afterwards: nothing else would ever free what it takes of the disk.
    """
    manager.restore("latest")
    broken = shop.kept()
    shop.maintain(f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{broken}'")
    manager.undo_restore()
    assert shop.scalar("SELECT count(*) FROM note") == 1
    assert broken not in shop.names()


def test_a_template_stays_one(shop: Database, manager: BackupManager) -> None:
    """Whoever makes databases of it still can; what is kept of it can be dropped."""
    shop.maintain("ALTER DATABASE {} IS_TEMPLATE true")
    is_template = f"SELECT datistemplate FROM pg_database WHERE datname = '{shop.name}'"
    manager.restore("latest")
    assert shop.scalar(is_template)
    manager.restore("latest")
    assert len([name for name in shop.names() if name.startswith("soulsense_")]) == 1
    for name in ("{}", shop.kept()):
        shop.maintain(f"ALTER DATABASE {name} IS_TEMPLATE false")


def test_a_limit_of_connections_is_what_is_said(shop: Database, manager: BackupManager) -> None:
    """Not that the server does not answer: what has to be raised is in the hint."""
    shop.maintain("ALTER DATABASE {} CONNECTION LIMIT 1")
    with pytest.raises(DatabaseUnreachableError, match="takes no more connections") as caught:
        manager.create()
    assert "CONNECTION LIMIT" in caught.value.hint
    shop.maintain("ALTER DATABASE {} CONNECTION LIMIT -1")
    shop.maintain("ALTER ROLE bel_app CONNECTION LIMIT 1")
    with pytest.raises(DatabaseUnreachableError, match="takes no more connections"):
        manager.create()
    shop.maintain("ALTER ROLE bel_app CONNECTION LIMIT -1")
    manager.create()
