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

Encrypted backups are opened with the private key in ``SOULSENSE_IDENTITY``, that of the file in
``SOULSENSE_IDENTITY_FILE``, or ``SOULSENSE_PASSPHRASE``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import SQLiteDriver
from soulsense_db.errors import BackupError, DatabaseError, OptionError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import log_ignored, warn
from soulsense_db.settings import DEFAULT_URL, URL_VARIABLE, environment_identities

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
    with _as_set_error():
        manager = BackupManager(engine, directory, identities=environment_identities())
        path = _path_set("DB_PATH")
        if path is not None and Path(path).resolve() != manager.database:
            raise OptionError(
                f"DB_PATH is {path!r}, and the engine is of {manager.database}.",
                hint="Set one of them only.",
            )
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
        return _manager(_directory_set()).create(description)


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
        report = _manager(_directory_set()).restore(Path(backup_path))
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
        return _manager(_directory_set()).list()


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
        _manager(_directory_set()).delete(Path(backup_path))
    return True


def get_backup_dir() -> str:
    """Return the backup directory, absolute."""
    with _as_set_error():
        return str(_manager(_path_set("BACKUP_DIR")).directory)


def _validate_sqlite_file(path: str | Path) -> bool:
    """Whether ``path`` is a whole SQLite database; False for anything else, never an error."""
    return SQLiteDriver.is_sound(Path(path))


# What a program sets

# What survives a reload of this module: else a program would work on another database after it.
_state: dict[str, Any] = globals()
_configured: tuple[Engine | AsyncEngine, BackupManager] | None = _state.get("_configured")
# The names in the modules that took everything from here, of this one first; and whether
# others can import it: one that was thrown away since has no say any more.
_namespaces: list[tuple[dict[str, Any], bool]] = _state.get("_namespaces", [(globals(), True)])

_UNSET = object()
_names = __all__
del __all__  # so that __getattr__ is asked for it, and learns who asks


class _Default(str):
    """A path that was handed out: a test that puts it back has set nothing."""

    __slots__ = ()


def __getattr__(name: str) -> Any:
    """Return a default that nobody has set, or all names for ``from ... import *``."""
    if name == "__all__":
        namespace = sys._getframe(1).f_globals  # of the module with the import
        if all(namespace is not known for known, _ in _namespaces):
            _namespaces.append((namespace, _module_of(namespace) is not None))
        return _names
    if name not in {"BACKUP_DIR", "DB_PATH"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        manager = _manager(_directory_set())
    except BackupError:  # it is not the import's to say so, but the functions'
        return _Default()
    return _Default(manager.directory if name == "BACKUP_DIR" else manager.database or "")


def _manager(directory: str | None) -> BackupManager:
    """Return the manager of what is set just now.

    Not kept: a relative URL follows the current directory and the environment.
    """
    database = _path_set("DB_PATH")
    if _configured is not None:
        engine, manager = _configured
        if database is None or Path(database).resolve() == manager.database:
            if directory is None:
                return manager
            return BackupManager(engine, directory, identities=environment_identities())
    url = os.environ.get(URL_VARIABLE) or DEFAULT_URL
    return BackupManager.from_url(
        url if database is None else database, directory, identities=environment_identities()
    )


def _directory_set() -> str | None:
    """Return the backup directory that is set, by its name or by a function that returns it."""
    directory, find = _path_set("BACKUP_DIR"), _set("get_backup_dir")
    if find is _UNSET:
        return directory
    found = _absolute("get_backup_dir()", find())
    if directory not in (None, found):
        raise OptionError(
            f"get_backup_dir() returns {found!r}, and BACKUP_DIR is {directory!r}.",
            hint="Set one of them only.",
        )
    return found


def _path_set(name: str) -> str | None:
    value = _set(name)
    return None if value is _UNSET else _absolute(name, value)


def _absolute(name: str, value: Any) -> str:
    """Return ``value`` as an absolute path; nothing stands for a path that is empty."""
    try:
        path = os.fsdecode(value)
    except TypeError:
        path = ""
    if not path:
        raise OptionError(f"{name} is {value!r}, which is not a path.", hint="Set it to a path.")
    return os.path.abspath(path)


def _set(name: str) -> Any:
    """Return what a program has set under ``name``, ``_UNSET`` when nothing.

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
    return found[0][1] if found else _UNSET


def _module_of(namespace: dict[str, Any]) -> ModuleType | None:
    module = sys.modules.get(namespace.get("__name__", ""))
    return module if getattr(module, "__dict__", None) is namespace else None


def _is_in_use(namespace: dict[str, Any], was_importable: bool) -> bool:
    """Whether it has something from here, and was not thrown away or replaced meanwhile."""
    if was_importable and _module_of(namespace) is None:
        return False
    return any(name in _state and namespace.get(name) is _state[name] for name in _names)


def _is_set(name: str, namespace: dict[str, Any]) -> bool:
    if name not in namespace:
        return False
    value = namespace[name]
    if type(value).__name__ == _Default.__name__:  # also one from before a reload
        return False
    if name == "get_backup_dir":  # ours, perhaps from before a reload of this module
        return getattr(value, "__module__", None) != __name__
    return name != "DatabaseError" or value not in (None, BackupError)


@contextmanager
def _as_set_error() -> Iterator[None]:
    """Raise errors of the block as the program's own, where it has set one."""
    wanted = _set("DatabaseError")  # first: else its own error would hide that of the block
    try:
        yield
    except BackupError as error:
        if wanted is _UNSET or isinstance(error, wanted):
            raise
        try:
            own = wanted(str(error))
        except Exception as failure:  # noqa: BLE001 - one that takes other arguments
            log_ignored(f"{wanted!r} cannot be made of a message", failure)
            raise error from None
        raise own from error
