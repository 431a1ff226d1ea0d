"""The guide's functions: every code sample of the guide runs as written."""

from __future__ import annotations

import runpy
import sqlite3
import sys
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from age_keys import Key
from helpers import execute, make_database, scalar

from soulsense_db import BackupError, BackupInfo, BackupManager, db_backup
from soulsense_db.codecs import Recipients, Secret
from soulsense_db.db_backup import (
    DatabaseError,
    _validate_sqlite_file,
    configure,
    create_backup,
    delete_backup,
    list_backups,
    restore_backup,
)
from soulsense_db.manager import ManagerOptions


@pytest.fixture(autouse=True)
def soulsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a SoulSense folder, with its database where it always is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOULSENSE_DATABASE_URL", raising=False)
    (tmp_path / "data").mkdir()
    return make_database(tmp_path / "data" / "soulsense.db")


# The guide's samples, with the import that a SoulSense checkout has.
CREATE = """
from app.db_backup import create_backup
backup_info = create_backup("Weekly backup")
backup_info = create_backup()
print(f"Backup created: {backup_info.filename}")
print(f"Size: {backup_info.size_display}")
print(f"Location: {backup_info.path}")
"""
LIST = """
from app.db_backup import list_backups
backups = list_backups()
print(f"Found {len(backups)} backups:")
for backup in backups:
    print(f"- {backup.timestamp_display}: {backup.size_display}")
    if backup.description:
        print(f"  Description: {backup.description}")
"""
KEEP_FIVE = """
from app.db_backup import delete_backup, list_backups
backups = list_backups()
if len(backups) > 5:
    for backup in backups[5:]:
        print(f"Deleting backup: {backup.filename}")
        delete_backup(backup.path)
"""
AUTOMATED = """
import sys
from app.db_backup import create_backup, list_backups, delete_backup
from datetime import datetime, timedelta

def automated_backup():
    try:
        description = f"Automated_{datetime.now().strftime('%Y%m%d')}"
        backup = create_backup(description)
        print(f"Backup created: {backup.filename}")
        backups = list_backups()
        cutoff_date = datetime.now() - timedelta(days=30)
        deleted_count = 0
        for backup in backups:
            if backup.timestamp < cutoff_date:
                delete_backup(backup.path)
                deleted_count += 1
        if deleted_count > 0:
            print(f"Cleaned up {deleted_count} old backups")
    except Exception as e:
        print(f"Backup failed: {e}")
        sys.exit(1)

automated_backup()
"""
VERIFY = """
from app.db_backup import list_backups, _validate_sqlite_file
backups = list_backups()
valid_count = 0
for backup in backups:
    if _validate_sqlite_file(backup.path):
        valid_count += 1
print(f"Summary: {valid_count}/{len(backups)} backups are valid")
"""


@pytest.fixture
def run_sample(
    soulsense: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> object:
    """Return a function that runs a sample of the guide in a SoulSense checkout."""
    root = soulsense.parent.parent
    (root / "app").mkdir()
    (root / "app" / "__init__.py").touch()
    (root / "app" / "db_backup.py").write_text("from soulsense_db.db_backup import *\n")
    monkeypatch.syspath_prepend(str(root))
    for name in ("app", "app.db_backup"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def run(sample: str) -> str:
        (root / "sample.py").write_text(sample)
        runpy.run_path(str(root / "sample.py"))
        return capsys.readouterr().out

    return run


def test_the_samples_run_as_written(run_sample: object, soulsense: Path) -> None:
    """Create, list, keep the five newest, automate and verify work as the guide prints them."""
    assert callable(run_sample)
    out = run_sample(CREATE)
    assert "Backup created: soulsense_backup_" in out
    assert f"Location: {soulsense.parent / 'backups'}" in out
    listed = run_sample(LIST)
    assert "Found 2 backups:" in listed
    assert "  Description: Weekly backup" in listed
    for _ in range(5):
        create_backup()
    assert run_sample(KEEP_FIVE).count("Deleting backup") == 2
    assert len(list_backups()) == 5
    assert "Summary: 5/5 backups are valid" in run_sample(VERIFY)


def test_the_automated_script_deletes_what_is_old(run_sample: object, soulsense: Path) -> None:
    """The script compares `timestamp` with datetime.now(): one of 31 days ago goes, others stay."""
    assert callable(run_sample)
    old = datetime.now() - timedelta(days=31)
    backups = soulsense.parent / "backups"
    create_backup("recent")
    # As an older SoulSense wrote it: no facts, the description alone in the .meta.
    path = backups / f"soulsense_backup_{old:%Y%m%d_%H%M%S}_old.db"
    make_database(path)
    Path(f"{path}.meta").write_text("An old one")
    assert list_backups()[-1].description == "An old one"
    out = run_sample(AUTOMATED)
    assert "Cleaned up 1 old backups" in out
    assert not path.exists()
    assert [info.description[:9] for info in list_backups()] == ["Automated", "recent"]


def test_restore_by_path(soulsense: Path) -> None:
    """restore_backup(path) returns True, with the rows of the backup back in place."""
    info = create_backup("before")
    assert isinstance(info, BackupInfo)
    with closing(sqlite3.connect(soulsense)) as connection:
        connection.execute("DELETE FROM child")
        connection.commit()
    assert restore_backup(info.path) is True
    assert scalar(soulsense, "SELECT count(*) FROM child") > 0
    assert soulsense.with_name("soulsense.db.safety_backup").exists()


def test_errors_are_database_errors(soulsense: Path) -> None:
    """What the guide calls DatabaseError is BackupError, and says what the guide says."""
    assert DatabaseError is BackupError
    with pytest.raises(DatabaseError, match="Backup file not found"):
        restore_backup("/path/to/soulsense_backup_20240129_143052.db")
    with pytest.raises(DatabaseError, match="Backup file not found"):
        delete_backup("/path/to/soulsense_backup_20240129_143052.db")
    info = create_backup()
    Path(info.path).write_bytes(b"")
    with pytest.raises(DatabaseError, match="Invalid backup file"):
        restore_backup(info.path)
    soulsense.unlink()
    with pytest.raises(DatabaseError, match="Database file not found"):
        create_backup()


@pytest.mark.parametrize("form", ["zstd", "differential", "key", "passphrase"])
def test_each_form_is_restored(
    soulsense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """restore_backup(path) takes backups of all forms, with the key that the environment names."""
    key = Key(tmp_path)
    monkeypatch.setenv("SOULSENSE_PASSPHRASE", "correct horse battery staple")
    options: dict[str, ManagerOptions] = {
        "zstd": {"compression": "zstd"},
        "differential": {"differential": True},
        "key": {"recipients": [key.public]},
        "passphrase": {
            "recipients": Recipients.with_passphrase(
                Secret.from_environment("SOULSENSE_PASSPHRASE")
            )
        },
    }
    create_backup("the base")
    BackupManager.from_url(f"sqlite:///{soulsense}", **options[form]).create()
    newest = list_backups()[0]
    assert not newest.is_plain
    execute(soulsense, "DELETE FROM child")
    if newest.form.is_encrypted:
        monkeypatch.delenv("SOULSENSE_PASSPHRASE")
        with pytest.raises(DatabaseError, match=r"no private key|passphrase"):
            restore_backup(newest.path)
        monkeypatch.setenv("SOULSENSE_PASSPHRASE", "correct horse battery staple")
        monkeypatch.setenv("SOULSENSE_IDENTITY_FILE", str(key.path))
    assert restore_backup(newest.path) is True
    assert scalar(soulsense, "SELECT count(*) FROM child") > 0


def test_delete_returns_true(soulsense: Path) -> None:
    """delete_backup(path) removes the backup with its meta file."""
    info = create_backup()
    assert delete_backup(info.path) is True
    assert list_backups() == []
    assert not Path(info.meta_path).exists()


def test_the_environment_names_another_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SOULSENSE_DATABASE_URL stands before the default."""
    other = make_database(tmp_path / "other.db")
    monkeypatch.setenv("SOULSENSE_DATABASE_URL", f"sqlite:///{other}")
    assert create_backup().database == "other.db"


def test_configure_stands_before_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """configure(engine) makes that engine's database the one, until configure(None)."""
    monkeypatch.setenv("SOULSENSE_DATABASE_URL", "sqlite:///nowhere.db")
    mine = make_database(tmp_path / "mine.db")
    engine = sa.create_engine(f"sqlite:///{mine}")
    try:
        configure(engine, tmp_path / "kept")
        info = create_backup()
        assert (info.database, Path(info.path).parent) == ("mine.db", tmp_path / "kept")
    finally:
        configure(None)
        engine.dispose()
    with pytest.raises(DatabaseError, match=r"nowhere\.db"):
        create_backup()


def test_validation_never_raises(soulsense: Path, tmp_path: Path) -> None:
    """_validate_sqlite_file: True for a backup, False for everything else, no exception."""
    good = create_backup()
    assert _validate_sqlite_file(good.path) is True
    data = Path(good.path).read_bytes()
    bad = {
        "missing.db": None,
        "empty.db": b"",
        "text.db": b"This is no database. " * 100,
        "truncated.db": data[: len(data) // 2],
        "torn.db": data[:5000],
        "header.db": data[:50],
    }
    for name, content in bad.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        assert _validate_sqlite_file(str(path)) is False, name
    assert _validate_sqlite_file(tmp_path) is False
    assert _validate_sqlite_file("nul\0.db") is False


def test_the_names_of_the_module() -> None:
    """`from soulsense_db.db_backup import *` brings the guide's names, the private one too."""
    assert "_validate_sqlite_file" in db_backup.__all__
    assert all(hasattr(db_backup, name) for name in db_backup.__all__)
