"""The guide's functions, over a default manager.

A SoulSense checkout keeps its ``app/db_backup.py`` as three lines::

    from soulsense_db.db_backup import *
    from app.config import DB_PATH
    from app.exceptions import DatabaseError

What a program sets, here or on a module that took everything from here with ``*``, counts from
the next call on:

- ``DB_PATH``: the database file. Without it, the database is the one of :func:`configure`, else of
  ``SOULSENSE_DATABASE_URL``, else ``sqlite:///data/soulsense.db``.
- ``BACKUP_DIR``: the backup directory, by default ``backups`` beside the database.
- ``get_backup_dir``: a function that returns the backup directory.
- ``DatabaseError``: raised in place of ours, which becomes its ``__cause__``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import SQLiteDriver
from soulsense_db.errors import BackupError, DatabaseError, OptionError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import warn
from soulsense_db.settings import DEFAULT_URL, URL_VARIABLE

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    BACKUP_DIR: str
    DB_PATH: str

__all__ = [
    "BACKUP_DIR",
    "DB_PATH",
    "BackupInfo",
    "DatabaseError",
    "_validate_sqlite_file",
    "configure",
    "create_backup",
    "delete_backup",
    "get_backup_dir",
    "list_backups",
    "restore_backup",
]


def configure(
    engine: Engine | AsyncEngine | None, directory: str | Path | None = None
) -> BackupManager | None:
    """Make an engine's database the one of all functions here.

    Args:
        engine: The engine; None goes back to the default.
        directory: As for :class:`~soulsense_db.manager.BackupManager`.

    Returns:
        The manager of that database; None for the default.

    Raises:
        UnsupportedDatabaseError: There is no driver for the engine's dialect.
        PermissionDeniedError: The directory is a link that belongs to another user.

    Example:
        >>> configure(engine).database.name
        'app.db'
    """
    global _configured  # noqa: PLW0603 - the guide's functions have no other place for it
    _configured = None
    if engine is None:
        return None
    manager = BackupManager(engine, directory)
    _configured = engine, manager
    return manager


def create_backup(description: str = "") -> BackupInfo:
    """Take a backup.

    Args:
        description: What a person calls it.

    Returns:
        The facts of the new backup.

    Raises:
        DatabaseError: No backup could be made.

    Example:
        >>> create_backup("After the import").description
        'After the import'
    """
    with _as_set_error():
        return _manager().create(description)


def restore_backup(backup_path: str | Path) -> bool:
    """Restore a backup.

    After an error the live database is what the error's ``outcome`` says: what it was, unless the
    disk failed in the middle. What fails once it is restored is a warning in
    the log ``soulsense_db``.

    Args:
        backup_path: The file of the backup.

    Returns:
        True.

    Raises:
        DatabaseError: It could not be restored.

    Example:
        >>> restore_backup(list_backups()[0].path)
        True
    """
    with _as_set_error():
        report = _manager().restore(Path(backup_path))
    for warning in report.warnings:
        warn(f"The database was restored. {warning}")
    return True


def list_backups() -> list[BackupInfo]:
    """Return all backups.

    Returns:
        The newest first.

    Raises:
        DatabaseError: The directory cannot be read.

    Example:
        >>> [backup.description for backup in list_backups()]
        ['Before the import']
    """
    with _as_set_error():
        return _manager().list()


def delete_backup(backup_path: str | Path) -> bool:
    """Delete a backup.

    Args:
        backup_path: The file of the backup.

    Returns:
        True.

    Raises:
        DatabaseError: It could not be deleted.

    Example:
        >>> delete_backup(list_backups()[0].path)
        True
    """
    with _as_set_error():
        _manager().delete(Path(backup_path))
    return True


def get_backup_dir() -> str:
    """Return the backup directory, absolute."""
    with _as_set_error():
        return str(_manager(_set("BACKUP_DIR")).directory)


def _validate_sqlite_file(path: str | Path) -> bool:
    """Whether ``path`` is a whole SQLite database; False for anything else, never an error."""
    return SQLiteDriver.is_sound(Path(path))


# What a program sets

_configured: tuple[Engine | AsyncEngine, BackupManager] | None = None

_functions = {"create_backup": create_backup, "get_backup_dir": get_backup_dir}
_names = __all__
del __all__  # so that __getattr__ is asked for it, and learns who asks
# The names in the modules that took everything from here, of this one first; and whether it was one
# that others can import.
_namespaces: list[tuple[dict[str, Any], bool]] = [(globals(), True)]
# The defaults that were handed out: a test that puts one of them back has set nothing.
_defaults: dict[str, str] = {}


def __getattr__(name: str) -> Any:
    """Return a default that nobody has set, or all names for ``from ... import *``."""
    if name == "__all__":
        namespace = sys._getframe(1).f_globals  # of the module with the import
        if all(namespace is not known for known, _ in _namespaces):
            _namespaces.append((namespace, _is_importable(namespace)))
        return _names
    if name not in {"BACKUP_DIR", "DB_PATH"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        manager = _manager()
    except BackupError:  # it is not the import's to say so, but the functions'
        return _defaults.setdefault("", "")
    path = str(manager.directory if name == "BACKUP_DIR" else manager.database or "")
    return _defaults.setdefault(path, path)


def _manager(directory: str | Path | None = None) -> BackupManager:
    """Return the manager of what is set just now; ``directory``: where it looks, if not there.

    Not kept: a relative URL follows the current directory and the environment.
    """
    database = _set("DB_PATH")
    directory = directory or _set_directory()
    if _configured is not None:
        engine, manager = _configured
        if database is None or Path(database).resolve() == manager.database:
            return manager if directory is None else BackupManager(engine, directory)
    default = os.environ.get(URL_VARIABLE) or DEFAULT_URL
    return BackupManager.from_url(os.path.abspath(database) if database else default, directory)


def _set_directory() -> str | Path | None:
    find = _set("get_backup_dir")
    found: str | Path | None = _set("BACKUP_DIR") if find is None else find()
    return found


def _set(name: str) -> Any:
    """Return what a program has set under ``name``, None when nothing.

    Raises :class:`OptionError` when two modules have set different things.
    """
    found = [
        (space.get("__name__"), space[name])
        for space, was_importable in _namespaces
        if _is_in_use(space, was_importable) and _is_set(name, space)
    ]
    if any(value != found[0][1] for _, value in found):
        values = " and ".join(f"{value!r} in {module}" for module, value in found)
        raise OptionError(f"{name} is {values}.", hint="Set it in one of them only.")
    return found[0][1] if found else None


def _is_importable(namespace: dict[str, Any]) -> bool:
    module = sys.modules.get(namespace.get("__name__", ""))
    return getattr(module, "__dict__", None) is namespace


def _is_in_use(namespace: dict[str, Any], was_importable: bool) -> bool:
    """Whether it has a function from here, and was not thrown away or replaced meanwhile."""
    has_ours = any(namespace.get(name) is own for name, own in _functions.items())
    return has_ours and _is_importable(namespace) == was_importable


def _is_set(name: str, namespace: dict[str, Any]) -> bool:
    value = namespace.get(name)
    if isinstance(value, str):
        return _defaults.get(value) is not value
    return value is not None and value not in (DatabaseError, *_functions.values())


@contextmanager
def _as_set_error() -> Iterator[None]:
    """Raise errors of the block as the program's own, where it has set one."""
    try:
        yield
    except BackupError as error:
        wanted = _set("DatabaseError")
        if wanted is None or isinstance(error, wanted):
            raise
        raise wanted(str(error)) from error
