"""The lock of a live database: restores and migrations of it exclude each other."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from filelock import Timeout

from soulsense_db import fs
from soulsense_db.fs import beside as companion
from soulsense_db.sidecars.errors import at_work


def lock_path(beside: Path) -> Path:
    """Return where the lock of the database at ``beside`` is."""
    return companion(beside, ".lock", hidden=True)


class LiveLock:
    """The lock of the database at ``beside``, held from construction to :meth:`release`.

    ``name`` is what an error calls it; ``owner_of``: as for :func:`files.make_lock_file`. A process
    that is forked meanwhile does not hold it. Raises
    :class:`~soulsense_db.errors.DatabaseLockedError` after ``timeout`` seconds.
    """

    def __init__(self, beside: Path, *, name: str, owner_of: Path | None, timeout: float) -> None:
        # A database on a server has its lock in the backup directory, which this may be the first
        # to need; beside a file there may be what belongs to a repository.
        fs.make_private_directory(beside.parent, keeps_out_of_git=owner_of is None)
        self._process = os.getpid()
        try:
            self._lock = fs.acquire_lock(lock_path(beside), timeout=timeout, owner_of=owner_of)
        except Timeout:
            raise at_work(name) from None
        _held.add(self)

    @property
    def is_of_this_process(self) -> bool:
        """Whether this process took it, and is no child of the one that did."""
        return self._process == os.getpid()

    def release(self) -> None:
        """Let others in; a second call does nothing, nor does one in the child of a fork."""
        if self.is_of_this_process:
            fs.release_lock(self._lock)

    def leave_to_parent(self) -> None:
        """In the child of a fork: close the lock's file, which unlocks nothing of the parent's."""
        # Newer versions of filelock do it by themselves, and have no descriptor any more.
        context = getattr(self._lock, "_context", None)
        descriptor = getattr(context, "lock_file_fd", None)
        if context is not None and isinstance(descriptor, int):
            # No log in the child of a fork: it is closed already.
            with suppress(OSError):
                os.close(descriptor)
            context.lock_file_fd = None


_held: WeakSet[LiveLock] = WeakSet()


def _leave_all_to_parent() -> None:
    for lock in tuple(_held):
        lock.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_to_parent)
