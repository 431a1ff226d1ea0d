"""What an application can be told of: a backup was made, removed, restored, an operation failed.

A listener is a function that takes one event::

    @manager.events.created
    def tell(event: Created) -> None:
        print(event.backup.filename)

``manager.events`` tells of one manager, :data:`everywhere` of all in the process, also of those
that the Alembic hook makes. Each event is a line in the log ``soulsense_db`` at INFO as well.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from soulsense_db.backup_info import BackupInfo
from soulsense_db.notices import log_event, reason_of, warn

__all__ = [
    "Created",
    "Event",
    "Events",
    "Failed",
    "Hook",
    "MigrationPutBack",
    "Operation",
    "Removed",
    "Restored",
    "RowsRestored",
    "Verified",
    "everywhere",
]

Operation = Literal[
    "adopt",
    "create",
    "delete",
    "export",
    "import",
    "prune",
    "put_back",
    "restore",
    "restore_rows",
    "undo",
    "verify",
]
"""What may fail; ``put_back`` is the restore after a migration that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event has; ``str()`` of it is the sentence that the log has.

    Attributes:
        database: The file of the live database; None for one in memory.

    Example:
        >>> @manager.events.created
        ... def tell(event):
        ...     print(event)
    """

    hook: ClassVar[str]
    log_level: ClassVar[int] = logging.INFO

    database: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Created(Event):
    """A backup was made, or a file imported as one: it has its name and is on disk.

    Attributes:
        database: As of :class:`Event`.
        backup: Its facts; ``backup.kind`` says what it was made for.

    Example:
        >>> @manager.events.created
        ... def tell(event):
        ...     print(event.backup.filename)
    """

    hook: ClassVar[str] = "created"

    backup: BackupInfo

    def __str__(self) -> str:
        return f"The backup {_sized(self.backup)} was created, of kind {self.backup.kind}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Event):
    """A backup passed the check that was asked for.

    The checks that other operations make on their way are no events.

    Attributes:
        database: As of :class:`Event`.
        backup: Its facts.
        level: ``quick`` or ``full``.
        warnings: What is worth knowing of the data and no fault of the backup, a sentence each.

    Example:
        >>> @manager.events.verified
        ... def tell(event):
        ...     print(event.level)
    """

    hook: ClassVar[str] = "verified"

    backup: BackupInfo
    level: str
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"The backup {_sized(self.backup)} passed a {self.level} check."


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored(Event):
    """The live database was replaced with a backup, or a restore was undone.

    Attributes:
        database: As of :class:`Event`.
        backup: What was restored.
        is_undo: Whether that was the safety backup of an earlier restore.
        safety_backup: The previous database; None where it could not be read.
        warnings: What failed when the database was restored already, a sentence each.

    Example:
        >>> @manager.events.restored
        ... def tell(event):
        ...     print(event.backup.filename)
    """

    hook: ClassVar[str] = "restored"

    backup: BackupInfo
    is_undo: bool
    safety_backup: Path | None
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        undo = ": a restore was undone" if self.is_undo else ""
        return (
            f"{_name_of(self.database, self.backup)} was restored from {_sized(self.backup)}{undo}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsRestored(Event):
    """Rows of a backup were brought back into the live database, which is else what it was.

    Attributes:
        database: As of :class:`Event`.
        backup: The backup that they are from.
        table: The table that was asked for.
        inserted: How many rows were inserted, in all tables.
        replaced: How many were overwritten, in all tables.
        safety_backup: The previous database.
        warnings: As of :class:`Restored`.

    Example:
        >>> @manager.events.rows_restored
        ... def tell(event):
        ...     print(event.table, event.inserted)
    """

    hook: ClassVar[str] = "rows_restored"

    backup: BackupInfo
    table: str
    inserted: int
    replaced: int
    safety_backup: Path | None
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        done = f"{self.inserted} inserted, {self.replaced} replaced"
        name = _name_of(self.database, self.backup)
        return (
            f"Rows of {self.table} in {name} were brought back from {_sized(self.backup)}: {done}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed(Event):
    """A backup was removed, by a retention policy or because somebody deleted it.

    Attributes:
        database: As of :class:`Event`.
        backup: Its facts; its files are gone.
        reason: Why, in words.
        policy: The rules that did not keep it, as ``keep_last 2``; empty where none removed it.

    Example:
        >>> @manager.events.removed
        ... def tell(event):
        ...     print(event.reason)
    """

    hook: ClassVar[str] = "removed"

    backup: BackupInfo
    reason: str
    policy: str = ""

    def __str__(self) -> str:
        policy = f" (policy: {self.policy})" if self.policy else ""
        return f"The backup {_sized(self.backup)} was removed: {self.reason}{policy}."


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationPutBack(Event):
    """A migration failed, and the database was put back to what it was before the first step.

    Attributes:
        database: As of :class:`Event`.
        backup: The one that was restored, with ``backup.alembic_heads`` from before and
            ``backup.target_revision`` of the migration.
        failed_database: A copy of what the failed migration left; None where that could not be
            read.
        warnings: As of :class:`Restored`.

    Example:
        >>> @manager.events.migration_put_back
        ... def tell(event):
        ...     print(event.failed_database)
    """

    hook: ClassVar[str] = "migration_put_back"

    backup: BackupInfo
    failed_database: Path | None
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = _name_of(self.database, self.backup)
        return f"A migration of {name} failed: it was put back from {_sized(self.backup)}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """An operation failed; its caller gets ``error`` as always, right after this.

    What ends a ``create`` when the backup is made already is no failure: old backups that could not
    be removed then are an event of ``prune``. An interrupt is none.

    Attributes:
        database: As of :class:`Event`.
        operation: Its name.
        error: What its caller gets.

    Example:
        >>> @manager.events.failed
        ... def tell(event):
        ...     print(event.operation, event.error)
    """

    hook: ClassVar[str] = "failed"
    log_level: ClassVar[int] = logging.DEBUG  # who called has the error: the log need not repeat it

    operation: Operation
    error: Exception

    def __str__(self) -> str:
        return f"The operation {self.operation} failed ({_reason(self.error)})."


E = TypeVar("E", bound=Event)


class Hook(Generic[E]):
    """One kind of event, and its listeners: call it with a function to add one.

    It returns the function, so that it is a decorator. A listener is called when the thing is done
    and on disk, in the thread that did it; several are called in the order in which they were
    added. What it raises is a warning in the log ``soulsense_db`` and changes nothing. It is not
    told of what it does itself.

    Example:
        >>> @manager.events.removed
        ... def tell(event):
        ...     print(event.backup.filename, event.reason)
    """

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[E], None], ...] = ()
        self._lock = threading.Lock()

    def __call__(self, listener: Callable[[E], None]) -> Callable[[E], None]:
        """Add a listener; a second time does nothing.

        Args:
            listener: A function of one argument, the event.

        Returns:
            The listener.

        Raises:
            TypeError: It is async and would never be awaited.

        Example:
            >>> tell = manager.events.created(lambda event: print(event.backup.filename))
        """
        if inspect.iscoroutinefunction(listener):
            raise TypeError(f"{_name_of_listener(listener)} is async and would never be awaited.")
        with self._lock:
            if listener not in self._listeners:
                self._listeners += (listener,)
        return listener

    def remove(self, listener: Callable[[E], None]) -> None:
        """Call a listener no more; nothing happens when it is not there.

        Args:
            listener: The function that was added.

        Example:
            >>> tell = manager.events.created(lambda event: print(event.backup.filename))
            >>> manager.events.created.remove(tell)
        """
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one != listener)

    def __iter__(self) -> Iterator[Callable[[E], None]]:
        return iter(self._listeners)


class Events:
    """The hooks of one manager, or of all: each is a decorator for a listener.

    See the guide, "Events and logging".

    Example:
        >>> @manager.events.failed
        ... def tell(event):
        ...     print(event.operation, event.error)
    """

    def __init__(self) -> None:
        self.created: Hook[Created] = Hook()
        """A backup was made or imported."""
        self.verified: Hook[Verified] = Hook()
        """A backup passed the check that was asked for."""
        self.restored: Hook[Restored] = Hook()
        """The database was restored, or a restore undone."""
        self.rows_restored: Hook[RowsRestored] = Hook()
        """Rows of a backup were brought back into the database."""
        self.removed: Hook[Removed] = Hook()
        """A backup was removed, once for each."""
        self.failed: Hook[Failed] = Hook()
        """An operation failed."""
        self.migration_put_back: Hook[MigrationPutBack] = Hook()
        """A migration failed and the database was put back."""


everywhere = Events()
"""The hooks of all managers in this process, those of the Alembic hook among them."""


# For the operations, not for applications


def tell(events: Events, event: Event) -> None:
    """Log ``event``, then call its listeners."""
    log(event)
    call_listeners(events, event)


def log(event: Event) -> None:
    """Log ``event``."""
    log_event(event.log_level, str(event))


def call_listeners(events: Events, event: Event) -> None:
    """Call the listeners of ``events``, then those of all managers; only an interrupt leaves it."""
    try:
        for one in (events, everywhere):
            for listener in getattr(one, event.hook):
                _call(listener, event)
    except BaseException as error:
        error.add_note(str(event))  # as of every interrupt: what was done by then
        raise


@contextmanager
def failing(events: Events, operation: Operation, *, database: Path | None) -> Iterator[None]:
    """Tell of an error that leaves the block, which is the ``operation``."""
    try:
        yield
    except Exception as error:
        tell(events, Failed(database=database, operation=operation, error=error))
        raise


_this_thread = threading.local()


def _call(listener: Callable[[Any], None], event: Event) -> None:
    running: list[object] = _this_thread.__dict__.setdefault("running", [])
    if listener in running:  # else one that creates in "created" would never come to an end
        return
    running.append(listener)
    try:
        listener(event)
    except Exception as error:  # noqa: BLE001 - the application's own, of any kind
        name = _name_of_listener(listener)
        warn(f"The listener {name} of {event.hook!r} failed ({_reason(error)}). {event}")
    finally:
        running.pop()


def _name_of_listener(listener: object) -> str:
    kind = listener if hasattr(listener, "__qualname__") else type(listener)
    return f"{kind.__module__}.{getattr(kind, '__qualname__', '')}"


def _reason(error: BaseException) -> str:
    try:
        return reason_of(error)
    except Exception:  # noqa: BLE001 - an error whose own text is one
        return type(error).__name__


def _sized(info: BackupInfo) -> str:
    return f"{info.filename} ({info.size_display})"


_MEMORY = ":memory:"


def _name_of(database: Path | None, backup: BackupInfo) -> str:
    if database is not None:
        return database.name
    # On a server its backup knows it by name.
    is_named = backup.database not in {None, _MEMORY}
    return str(backup.database) if is_named else "The database in memory"
