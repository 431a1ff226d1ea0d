"""What a person has to know before a restore, or of an import, is said, and in its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from helpers import execute, make_database, write_marker
from shell import Shell, make_shell

from soulsense_db import errors
from soulsense_db.health import check_health
from soulsense_db.manager import BackupManager


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return a shell whose database is at a revision."""
    made = make_shell(tmp_path)
    execute(made.database, "CREATE TABLE alembic_version AS SELECT 'r1' AS version_num")
    return made


def test_in_a_log_warnings_come_after_what_was_said_before(shell: Shell) -> None:
    """Both streams in one file, as in CI: what is said of a backup stands below its name."""
    write_marker(shell.database, backup="x", alembic_heads=(), target_revision=None)
    shell.run("create")
    (info,) = shell.backups()
    shell.env.pop("PYTHONUNBUFFERED", None)
    said = subprocess.run(
        [sys.executable, "-m", "soulsense_db", "restore", info.id, "--dry-run"],
        cwd=shell.folder,
        env=shell.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    first, *_, warning, last = said.stdout.splitlines()
    assert first == info.filename
    assert warning.startswith(f"Warning: {info.filename} was taken before a migration had finished")
    assert last.startswith("Nothing was changed")


def test_an_import_says_how_much_there_is_and_that_it_may_be_a_part(shell: Shell) -> None:
    """A database without a revision may be one table of ours: it would become ``latest``."""
    part = make_database(shell.folder / "part.db")
    imported = shell.run("import", str(part))
    assert imported.returncode == 0
    assert "row(s) in 2 table(s)" in imported.stdout
    assert imported.stderr.startswith("Warning: It has no revision of Alembic, and the database is")
    execute(part, "CREATE TABLE alembic_version AS SELECT 'r1' AS version_num")
    assert "3 table(s)" in shell.ok("import", str(part))


def test_an_import_is_latest_where_what_is_newer_is_in_doubt(shell: Shell) -> None:
    """What ``latest`` means is asked, not what is newest: a half-run backup never is."""
    copy = make_database(shell.folder / "copy.db")
    execute(copy, "CREATE TABLE alembic_version AS SELECT 'r1' AS version_num")
    write_marker(shell.database, backup="x", alembic_heads=(), target_revision=None)
    shell.run("create")
    assert "'latest' does not mean" not in shell.ok("import", str(copy))
    shell.database.with_name("soulsense.db.migrating").unlink()
    shell.create()
    assert "'latest' does not mean" in shell.ok("import", str(copy))


def test_another_moment_is_no_misspelt_name(shell: Shell) -> None:
    """Who names a backup that is elsewhere is not told to restore one of another time."""
    shell.create()
    (info,) = shell.backups()
    other = info.filename.replace("_20", "_19", 1)
    assert "Did you mean" not in shell.fails(errors.BackupNotFoundError, "show", other)
    close = info.filename.removesuffix(".db") + "_x.db"
    assert info.id in shell.fails(errors.BackupNotFoundError, "show", close)


def test_a_restore_that_does_not_end_the_alarm_says_so_before(shell: Shell) -> None:
    """And one of the backup from before the migration does not."""
    shell.create(2)
    newest, oldest = shell.backups()
    write_marker(shell.database, backup=oldest.path, alembic_heads=("r1",), target_revision="r2")
    told = shell.run("restore", newest.id, "--dry-run").stderr
    assert f"not the backup from before it ({oldest.filename})" in told
    assert shell.run("restore", oldest.id, "--dry-run").stderr == ""
    assert "restore --accept" in shell.run("status").stdout


def test_a_backup_of_another_spelling_is_not_gone(tmp_path: Path) -> None:
    """A server has many addresses; what is in the directory is there, whosever it is."""
    database = make_database(tmp_path / "app.db")
    manager = BackupManager(sa.create_engine(f"sqlite:///{database}", poolclass=sa.NullPool))
    info = manager.create()
    moved = database.rename(tmp_path / "other.db")
    other = BackupManager(sa.create_engine(f"sqlite:///{moved}", poolclass=sa.NullPool))
    assert info.filename in {one.filename for one in other.others()}
    assert not any("is gone" in check.message for check in check_health(other).checks)


def test_a_backup_while_a_migration_runs_does_not_say_that_one_died(shell: Shell) -> None:
    """It may be of the middle of the migration, but nothing is to be put back."""
    manager = BackupManager(sa.create_engine(f"sqlite:///{shell.database}", poolclass=sa.NullPool))
    with manager.exclusive():
        write_marker(shell.database, backup="x", alembic_heads=(), target_revision=None)
        said = shell.run("create").stderr
        assert manager.alarm.is_running()
    assert said.startswith("Warning: 'latest' does not mean this backup. A migration is running")
    assert "interrupted" not in said
    assert not manager.alarm.is_running()
