"""A call that is refused leaves nothing behind: no directory, no lock, no file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import execute, make_database
from shell import Shell

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.errors import BackupError
from soulsense_db.health import check_health
from soulsense_db.scheduled import run_auto


def _tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


CALLS: dict[str, Callable[[BackupManager, Path], object]] = {
    "create": lambda manager, _: manager.create("x"),
    "auto": lambda manager, _: run_auto(manager, RetentionPolicy(keep_last=1)),
    "restore": lambda manager, _: manager.restore("latest"),
    "restore by name": lambda manager, _: manager.restore("soulsense_backup_gone.db"),
    "restore by path": lambda manager, folder: manager.restore(folder / "text"),
    "undo": lambda manager, _: manager.undo_restore(),
    "accept": lambda manager, _: manager.alarm.accept(),
    "verify": lambda manager, _: manager.verify("latest"),
    "delete": lambda manager, _: manager.delete("latest"),
    "pin": lambda manager, _: manager.pin("latest"),
    "compare": lambda manager, _: manager.compare("latest"),
    "prune": lambda manager, _: manager.prune(RetentionPolicy(keep_last=1)),
    "list": lambda manager, _: manager.list(),
    "status": lambda manager, _: check_health(manager),
    "export": lambda manager, folder: manager.export("latest", folder / "to" / "out.db"),
    "import of nothing": lambda manager, folder: manager.import_file(folder / "gone.db"),
    "import of text": lambda manager, folder: manager.import_file(folder / "text"),
    "import of little": lambda manager, folder: manager.import_file(folder / "little"),
    "import of itself": lambda manager, _: manager.import_file(str(manager.database)),
}
WRITE = {"create", "auto"}
DATABASES = {"missing": "deep/down/app.db", "text": "text", "sound": "app.db"}


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("name", CALLS)
def test_a_refused_call_creates_nothing(
    tmp_path: Path, make_engine: EngineMaker, name: str, database: str
) -> None:
    """Without a database, without a backup, with one that is no database: no trace of the call."""
    if name in WRITE and database == "sound":
        pytest.skip("that is not refused")
    make_database(tmp_path / "app.db")
    (tmp_path / "text").write_text("Dear diary " * 500)
    (tmp_path / "little").write_text("x")
    manager = BackupManager(make_engine(tmp_path / DATABASES[database]), lock_timeout=1)
    before = _tree(tmp_path)
    with suppress(BackupError):
        CALLS[name](manager, tmp_path)
    assert _tree(tmp_path) == before


@pytest.mark.parametrize("name", ["create", "auto"])
def test_a_table_of_the_application_s_refuses_before_anything_is_made(
    database: Path, manager: BackupManager, name: str
) -> None:
    """With a table of the catalog's name in the database not even the directory is made."""
    execute(database, "CREATE TABLE backups (a)")
    with pytest.raises(BackupError, match="not soulsense_db's"):
        CALLS[name](manager, database.parent)
    assert _tree(database.parent) == {"app.db"}


def test_a_backup_that_is_refused_leaves_no_lock(manager: BackupManager, database: Path) -> None:
    """A restore of a damaged backup is refused before it makes the lock of the database."""
    info = manager.create()
    path = Path(info.path)
    path.write_bytes(path.read_bytes()[:-3000] + bytes(3000))
    before = _tree(database.parent)
    for ref in (info, "latest", info.id[:6]):
        with pytest.raises(BackupError):
            manager.restore(ref)
    assert _tree(database.parent) == before


COMMANDS = [
    ["create", "--url", "postgresql://host/db"],
    ["create", "--url", "no/such/app.db"],
    ["auto", "--url", "no/such/app.db"],
    ["undo", "--yes"],
    ["undo", "--yes", "--url", "no/such/app.db"],
    ["restore", "latest", "--yes"],
    ["restore", "latest", "--yes", "--url", "no/such/app.db"],
    ["restore", "--accept", "--yes"],
    ["prune", "--keep-last", "1", "--yes"],
    ["status"],
    ["list"],
    ["export", "latest", "elsewhere/"],
    ["import", "alembic.ini"],
    ["create", "--directory", "data/soulsense.db/below"],
]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_refused_command_creates_nothing(shell: Shell, command: list[str]) -> None:
    """What holds of the library holds of the program."""
    before = _tree(shell.folder)
    shell.run(*command)
    assert _tree(shell.folder) == before
