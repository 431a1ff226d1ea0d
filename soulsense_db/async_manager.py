"""AsyncBackupManager: what a manager does, awaited."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar, Unpack

from sqlalchemy.engine import Engine

from soulsense_db.awaited import Awaited, in_a_thread
from soulsense_db.events import Events
from soulsense_db.manager import BackupManager, ManagerOptions
from soulsense_db.mirroring import MirrorOperations
from soulsense_db.operations import IdentitiesOption

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["AsyncBackupManager", "AsyncMirrors"]

P = ParamSpec("P")
T = TypeVar("T")


class AsyncBackupManager:
    """Backs up one database, and restores it, while the event loop goes on.

    It stands to :class:`~soulsense_db.manager.BackupManager` as SQLAlchemy's ``AsyncSession`` does
    to ``Session``: the same arguments, the same methods, each of them awaited;
    :attr:`sync_manager` and :meth:`run_sync` for the rest. That is what users of SQLAlchemy know,
    and ``manager.create()`` cannot be called by mistake where it would block the event loop, as it
    could beside an ``acreate()``.

    A call runs in a thread of its own, not in one of the event loop's executor: a wait for a lock
    takes no thread away from the application. Several calls at a time exclude each other where they
    must, as those of several threads do. ``progress`` and the listeners of :attr:`events` are
    called in that thread: ``loop.call_soon_threadsafe`` leads back.

    When the task that waits is cancelled, the work is stopped at its next step, and the task ends
    when that has happened: nothing goes on in the background. A new backup is then finished or
    there is nothing of it, a restore is done or has changed nothing. Where the work was done
    already, the ``CancelledError`` has a note that says so.

    Args:
        engine: The engine of the database. The database is connected to once, to find its file:
            make the manager when the application starts.
        directory: As for :class:`~soulsense_db.manager.BackupManager`.
        options: The others, as for :class:`~soulsense_db.manager.BackupManager`.

    Raises:
        UnsupportedDatabaseError: There is no driver for the engine's dialect.
        PermissionDeniedError: The directory is a link that belongs to another user.

    Example:
        >>> import asyncio
        >>> async def back_up():
        ...     manager = AsyncBackupManager(engine)
        ...     return await manager.create("Before the import")
        >>> asyncio.run(back_up()).description
        'Before the import'
    """

    def __init__(
        self,
        engine: AsyncEngine | Engine,
        directory: str | Path | None = None,
        **options: Unpack[ManagerOptions],
    ) -> None:
        self.sync_manager = BackupManager(engine, directory, **options)
        """The manager whose methods the calls run."""

    @property
    def events(self) -> Events:
        """What to call when something was done; listeners are called in the thread of the work."""
        return self.sync_manager.events

    @property
    def directory(self) -> Path:
        """The backup directory, absolute; it is made by the first backup."""
        return self.sync_manager.directory

    @property
    def mirrors(self) -> AsyncMirrors:
        """The mirrors: what ``BackupManager.mirrors`` does, awaited."""
        return AsyncMirrors(self.sync_manager.mirrors)

    def with_identities(self, identities: IdentitiesOption) -> Self:
        """Return a manager that opens encrypted backups with other keys; it reads none yet.

        Args:
            identities: As for :meth:`~soulsense_db.manager.BackupManager.with_identities`.

        Returns:
            The manager with them.

        Example:
            >>> manager = AsyncBackupManager(engine).with_identities("/etc/app/key.txt")
            >>> manager.sync_manager.identities
            Identities(the file /etc/app/key.txt)
        """
        other = copy.copy(self)
        other.sync_manager = self.sync_manager.with_identities(identities)
        return other

    create = Awaited(BackupManager.create)
    require_ready = Awaited(BackupManager.require_ready)
    create_unless_same = Awaited(BackupManager.create_unless_same)
    list = Awaited(BackupManager.list)
    candidates = Awaited(BackupManager.candidates)
    others = Awaited(BackupManager.others)
    get = Awaited(BackupManager.get)
    adopt = Awaited(BackupManager.adopt)
    delete = Awaited(BackupManager.delete)
    dependents = Awaited(BackupManager.dependents)
    description_of = Awaited(BackupManager.description_of)
    require_key = Awaited(BackupManager.require_key)
    verify = Awaited(BackupManager.verify)
    drills_due = Awaited(BackupManager.drills_due)
    last_drill = Awaited(BackupManager.last_drill)
    orphans = Awaited(BackupManager.orphans)
    pin = Awaited(BackupManager.pin)
    unpin = Awaited(BackupManager.unpin)
    prune = Awaited(BackupManager.prune)
    import_file = Awaited(BackupManager.import_file)
    export = Awaited(BackupManager.export)
    restore = Awaited(BackupManager.restore, is_done_at_the_last_call=True)
    can_restore = Awaited(BackupManager.can_restore)
    undo_restore = Awaited(BackupManager.undo_restore, is_done_at_the_last_call=True)
    find_rows = Awaited(BackupManager.find_rows)
    preview_rows = Awaited(BackupManager.preview_rows)
    restore_rows = Awaited(BackupManager.restore_rows)
    safety_backup = Awaited(BackupManager.safety_backup)
    compare = Awaited(BackupManager.compare)
    diff = Awaited(BackupManager.diff)
    row_counts = Awaited(BackupManager.row_counts)

    async def run_sync(
        self, work: Callable[Concatenate[BackupManager, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function on the manager, in a thread: for what has no method here.

        A cancelled task waits for its end; only the methods can be stopped before.

        Args:
            work: Called with :attr:`sync_manager` and the other arguments.
            args: As for ``work``.
            kwargs: As for ``work``.

        Returns:
            What ``work`` returned.

        Example:
            >>> import asyncio
            >>> async def look():
            ...     return await AsyncBackupManager(engine).run_sync(lambda sync: sync.live.size())
            >>> asyncio.run(look()) > 0
            True
        """
        return await in_a_thread(functools.partial(work, self.sync_manager, *args, **kwargs))


class AsyncMirrors:
    """The mirrors of an :class:`AsyncBackupManager`: the same methods, each of them awaited.

    When the task that waits is cancelled, the transfer is stopped at its next step. What is at the
    mirror by then is a whole backup, or none.

    Args:
        mirrors: What ``BackupManager.mirrors`` is.

    Example:
        >>> import asyncio
        >>> mirrors = AsyncMirrors(manager.mirrors)
        >>> [report.ok for report in asyncio.run(mirrors.sync())]
        [True]
    """

    def __init__(self, mirrors: MirrorOperations) -> None:
        self.sync_manager = mirrors
        """The mirrors whose methods the calls run."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The URLs of all mirrors."""
        return self.sync_manager.addresses

    sync = Awaited(MirrorOperations.sync)
    status = Awaited(MirrorOperations.status)
    places_of = Awaited(MirrorOperations.places_of)
    only_there = Awaited(MirrorOperations.only_there)
    list = Awaited(MirrorOperations.list)
    verify = Awaited(MirrorOperations.verify)
    add = Awaited(MirrorOperations.add)
    fetch = Awaited(MirrorOperations.fetch)
