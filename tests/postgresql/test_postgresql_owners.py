"""A backup that was made before owners changed, restored by a user without ``CREATEDB``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgresql.newest import on_newest
from postgresql.server import Server
from postgresql.test_postgresql_plain_owner import Owned
from soulsense_db import BackupManager

pytestmark = on_newest


@pytest.fixture
def shop(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Owned]:
    """Return a database that is the administrator's, and in which the user may make tables."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with Owned(server) as made:
        made.maintain("ALTER DATABASE {} OWNER TO postgres")
        made.administer(f"GRANT CREATE ON SCHEMA public TO {made.user}")
        made.execute("CREATE TABLE note (id int)", "INSERT INTO note VALUES (1)")
        yield made
        made.administer(f"REASSIGN OWNED BY {made.user} TO postgres")
        made.administer(f"DROP OWNED BY {made.user}")


def test_the_page_s_statements_keep_earlier_backups_restorable(shop: Owned, tmp_path: Path) -> None:
    """The user gets ``public`` for restores within the database: earlier backups come back, too."""
    manager = BackupManager(shop.engine, tmp_path / "backups")
    manager.create()
    shop.execute("DELETE FROM note")
    shop.maintain(f"GRANT CREATE ON DATABASE {{}} TO {shop.user}")
    shop.administer(f"ALTER SCHEMA public OWNER TO {shop.user}")
    report = manager.restore("latest")
    assert report.verified
    assert shop.scalar("SELECT count(*) FROM note") == 1
    manager.undo_restore()
    assert shop.scalar("SELECT count(*) FROM note") == 0
