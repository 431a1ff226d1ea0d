"""The rights that the documentation names are enough, and each that is missing is named."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from postgresql import content
from postgresql.database import Database
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.errors import MissingRightError

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "postgresql.md"


def statements(title: str) -> list[str]:
    """Return the statements of a block of the page."""
    page = PAGE.read_text(encoding="utf-8")
    block = re.search(rf'```sql title="{title}"\n(.*?)```', page, re.DOTALL)
    assert block is not None
    return [one.strip() for one in block[1].split(";") if one.strip()]


@pytest.fixture
def shop(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Return the database ``shop``, with a table, and users without rights of their own."""
    # Where the server's programs are, it tells no plain user.
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with Database(server, "shop") as made:
        made.maintain("CREATE ROLE app LOGIN")
        made.maintain("CREATE ROLE backup LOGIN")
        made.execute(
            "CREATE TABLE note (id serial PRIMARY KEY, body text)",
            "INSERT INTO note (body) VALUES ('Dear diary')",
            "CREATE SCHEMA other",
            "CREATE TABLE other.note (id int)",
        )
        yield made
        content.drop_kept(server)
        made.execute("DROP OWNED BY app, backup")
        made.maintain("ALTER DATABASE {} OWNER TO postgres")
        made.maintain("DROP OWNED BY app, backup")
        made.maintain("DROP ROLE app")
        made.maintain("DROP ROLE backup")


def manager_of(shop: Database, user: str, folder: Path) -> BackupManager:
    """Return a manager that connects as a user."""
    engine = sa.create_engine(shop.server.url(shop.name, user=user))
    return BackupManager(engine, folder)


def grant(shop: Database, given: list[str]) -> None:
    """Execute statements of the page."""
    for statement in given:
        shop.maintain(statement)


def test_a_user_who_may_read_makes_backups(shop: Database, tmp_path: Path) -> None:
    """The rights of the page are enough for a backup, and do not let anything be written."""
    manager = manager_of(shop, "backup", tmp_path)
    with pytest.raises(MissingRightError, match="permission denied"):
        manager.create()
    assert manager.list() == []
    grant(shop, statements("backup.sql"))
    made = manager.create("by one who only reads")
    assert manager.verify(made, level="full").backup.row_counts == {"note": 1, "other.note": 0}
    with pytest.raises(MissingRightError, match="create databases") as caught:
        manager.restore(made)
    assert "Dear diary" not in str(caught.value)
    assert shop.scalar("SELECT count(*) FROM note") == 1


def test_a_user_with_the_rights_of_the_page_restores(shop: Database, tmp_path: Path) -> None:
    """Owner and rights are the same afterwards, whoever else is connected."""
    given = statements("restore.sql")
    grant(shop, given)
    shop.execute(
        "ALTER TABLE note OWNER TO app",
        "ALTER SCHEMA other OWNER TO app",
        "ALTER TABLE other.note OWNER TO app",
    )
    manager = manager_of(shop, "app", tmp_path)
    made = manager.create()
    shop.execute("DELETE FROM note")
    with shop.engine.connect():  # of the superuser
        pass
    shop.engine.dispose()
    assert manager.can_restore(made).problems == ()
    manager.restore(made)
    assert shop.scalar("SELECT body FROM note") == "Dear diary"
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'"
    assert shop.scalar(owner) == "app"
    assert shop.scalar("SELECT tableowner FROM pg_tables WHERE tablename = 'note'") == "app"


@pytest.mark.parametrize("missing", [0, 1])
def test_a_right_that_is_missing_is_named(shop: Database, tmp_path: Path, missing: int) -> None:
    """Before anything is done, with the statement that gives it."""
    given = statements("restore.sql")
    grant(shop, [one for number, one in enumerate(given) if number != missing])
    grant(shop, [one.replace("backup", "app") for one in statements("backup.sql")])
    manager = manager_of(shop, "app", tmp_path)
    made = manager.create()
    problems = manager.can_restore(made).problems
    assert [type(one) for one in problems] == [MissingRightError]
    assert given[missing] in problems[0].hint
    with pytest.raises(MissingRightError):
        manager.restore(made)
    assert shop.names() == ["postgres", "shop", "template0", "template1"]


def test_an_extension_is_named_and_not_what_it_has(shop: Database, tmp_path: Path) -> None:
    """Its functions are an administrator's, and nobody should give them away."""
    if not shop.scalar("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'"):
        pytest.skip("the server has no such extension")
    shop.execute("CREATE EXTENSION pg_trgm")
    grant(shop, statements("backup.sql"))
    (problem,) = manager_of(shop, "backup", tmp_path).can_restore().problems
    assert "it has extension pg_trgm, which is in no schema" in str(problem)
    statement = "ALTER ROLE backup CREATEDB; ALTER DATABASE shop OWNER TO backup;"
    assert f"DROP EXTENSION pg_trgm;   Or, as an administrator: {statement}   Then" in problem.hint
