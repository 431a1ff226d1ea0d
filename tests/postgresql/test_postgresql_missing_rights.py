"""What the commands say to a user who lacks rights, and what would help."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgresql import content
from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.server import Server
from postgresql.test_postgresql_rights import grant, manager_of, statements
from soulsense_db import BackupManager
from soulsense_db.health import State, check_health

pytestmark = on_newest


@pytest.fixture
def shop(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Return a database of the user ``app``, with a user ``backup`` who may read it."""
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with Database(server, "shop") as made:
        made.maintain("CREATE ROLE app LOGIN")
        made.maintain("CREATE ROLE backup LOGIN")
        made.maintain("ALTER DATABASE {} OWNER TO app")
        made.execute(
            "CREATE TABLE note (id serial PRIMARY KEY, body text)",
            "INSERT INTO note (body) VALUES ('Dear diary')",
            "ALTER TABLE note OWNER TO app",
        )
        grant(made, statements("backup.sql"))
        yield made
        content.drop_kept(server)
        made.execute("REASSIGN OWNED BY app TO postgres", "DROP OWNED BY app, backup")
        made.maintain("REVOKE ALL ON DATABASE {} FROM backup")
        made.maintain("DROP ROLE app")
        made.maintain("DROP ROLE backup")


@pytest.fixture
def manager(shop: Database, tmp_path: Path) -> BackupManager:
    """Return a manager of the user ``backup``, with one backup."""
    made = manager_of(shop, "backup", tmp_path / "backups")
    made.create()
    return made


def command(shop: Database, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the user ``backup``."""
    place = ("--url", shop.server.url(shop.name, user="backup"), "--directory", str(folder))
    return subprocess.run(
        [sys.executable, "-m", "soulsense_db", *arguments, *place],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_dry_run_is_refused_as_the_restore_is(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """With the same error and exit code: what a dry run lets pass, a restore would do."""
    del manager
    dry, real = (
        command(shop, tmp_path / "backups", "restore", "latest", option)
        for option in ("--dry-run", "--yes")
    )
    assert (dry.returncode, real.returncode) == (18, 18)
    assert "this was a dry run" not in dry.stdout
    assert "A right is missing" in dry.stderr
    assert real.stderr.endswith(dry.stderr[dry.stderr.index("Error:") :])


def test_monitoring_by_who_only_makes_backups_is_no_alarm(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """The rights that a restore needs are a warning, and no promise is made for the catalog."""
    shop.execute("GRANT ALL ON SCHEMA public TO app")
    manager_of(shop, "app", tmp_path / "backups").create()  # makes the table
    manager.create()
    report = check_health(manager)
    assert report.state is State.WARNING
    said = {check.name: check for check in report.checks if check.state is not State.OK}
    assert set(said) == {"restore", "catalog"}
    assert "A right is missing" in said["restore"].message
    assert "of a user who may write the table" in said["catalog"].message
