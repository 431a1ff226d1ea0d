"""What is the same of drivers that restore beside the live database, and then swap the two."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sqlalchemy.engine import Engine

from soulsense_db.drivers.dump_driver import D, DumpDriver
from soulsense_db.drivers.results import WriteLock
from soulsense_db.progress import Progress

SAFETY_BACKUP_MISSING = "its safety backup is not written"
"""What is left to do after a swap, as :meth:`.Driver.unfinished` says it."""


class Ready(Protocol):
    """A backup that was restored beside the live database."""

    def is_of(self, source: Path) -> bool:
        """Whether it was made of the backup file ``source``, whatever its name is now."""


R = TypeVar("R", bound=Ready)


class SwappingDriver(DumpDriver[D], Generic[D, R]):
    """A database that is restored beside the live one; ``R`` is what is ready to be swapped."""

    def __init__(self, engine: Engine, *, lock_timeout: float) -> None:
        super().__init__(engine, lock_timeout=lock_timeout)
        self._here = threading.local()  # what was prepared in this thread

    # What a dialect does

    @abstractmethod
    def preparing(self, source: Path, progress: Progress | None) -> AbstractContextManager[R]:
        """Restore ``source`` beside the live database; what is not used is gone after the block."""

    @abstractmethod
    def put_in_place(self, ready: R, write_lock: WriteLock | None, *, keeps: str | None) -> None:
        """Swap what is ``ready`` and what is live, which stays if it is kept for a purpose."""

    # What follows of it

    @property
    def keeps_replaced(self) -> bool:
        """Whether what is replaced stays: yes."""
        return True

    @property
    def ready(self) -> R | None:
        """What was prepared in this thread."""
        return getattr(self._here, "ready", None)

    @contextmanager
    def prepared(self, source: Path, *, progress: Progress | None = None) -> Iterator[None]:
        """Restore ``source`` beside the live database: for the swap, writers wait for a moment."""
        before = self.ready
        with self.preparing(source, progress) as ready:
            self._here.ready = ready
            try:
                yield
            finally:
                self._here.ready = before

    def load(
        self, source: Path, *, write_lock: WriteLock | None = None, progress: Progress | None = None
    ) -> None:
        """Put what was prepared of ``source``, now or before, in the place of the live database."""
        self._swap(source, write_lock, progress, keeps=None)

    def exchange(
        self,
        source: Path,
        *,
        purpose: str,
        write_lock: WriteLock | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Like :meth:`load`, and what is replaced stays, under another name."""
        self._swap(source, write_lock, progress, keeps=purpose)

    def _swap(
        self,
        source: Path,
        write_lock: WriteLock | None,
        progress: Progress | None,
        *,
        keeps: str | None,
    ) -> None:
        ready = self.ready
        if ready is not None and ready.is_of(source):
            self.put_in_place(ready, write_lock, keeps=keeps)
            return
        with self.preparing(source, progress) as made:
            self.put_in_place(made, write_lock, keeps=keeps)
