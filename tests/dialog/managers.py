"""Managers that wait at a moment, or fail there: an application of the tests has one by its name.

They look for files in the folder of the application, which a test makes and removes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from soulsense_db import BackupInfo, BackupManager, RestoreReport
from soulsense_db.drivers import Progress

GO = Path("go")
SLOW = Path("slow")
READ = Path("read")


def wait_for_go(meanwhile: Callable[[], object] = lambda: None) -> None:
    """Wait until the file ``go`` is there."""
    while not GO.exists():
        time.sleep(0.01)
        meanwhile()


def gate(progress: Progress) -> Progress:
    """Return a progress that waits at each of its calls."""

    def wait(done: int, total: int) -> None:
        progress(done, total)
        wait_for_go(lambda: progress(done, total))  # here a cancel arrives

    return wait


class Gated(BackupManager):
    """Waits at the first bytes of a copy."""

    def create(self, *arguments: Any, progress: Any = None, **options: Any) -> BackupInfo:
        """Copy, and wait."""
        return super().create(*arguments, progress=gate(progress), **options)

    def restore(self, *arguments: Any, progress: Any = None, **options: Any) -> RestoreReport:
        """Write, and wait."""
        return super().restore(*arguments, progress=gate(progress), **options)


class Held(BackupManager):
    """Says that two fifths are copied, and waits."""

    def create(self, *arguments: Any, progress: Any = None, **options: Any) -> BackupInfo:
        """Copy, as if in the middle."""

        def hold(_done: int, total: int) -> None:
            while not GO.exists():
                progress(total * 2 // 5, total)
                time.sleep(0.02)

        return super().create(*arguments, progress=hold, **options)


class CreatesLate(BackupManager):
    """Waits when all is copied, and the backup has not its name yet."""

    def create(self, *arguments: Any, progress: Any = None, **options: Any) -> BackupInfo:
        """Copy, and wait at the end."""
        calls: list[int] = []

        def wait(done: int, total: int) -> None:
            calls.append(done)
            if len(calls) > 1 and done == total:  # the last moment
                wait_for_go(lambda: progress(done, total))
            progress(done, total)

        return super().create(*arguments, progress=wait, **options)


class RestoresLate(BackupManager):
    """Waits when the data is replaced, at the very last call of the progress."""

    def restore(self, *arguments: Any, progress: Any = None, **options: Any) -> RestoreReport:
        """Write, and wait at the end."""

        def wait(done: int, total: int) -> None:
            if done == total:
                wait_for_go()
            progress(done, total)

        return super().restore(*arguments, progress=wait, **options)


class ReturnsLate(BackupManager):
    """Waits when a restore is done."""

    def restore(self, *arguments: Any, **options: Any) -> RestoreReport:
        """Restore, and wait."""
        report = super().restore(*arguments, **options)
        wait_for_go()
        return report


class Unread(BackupManager):
    """Restores what cannot be read back."""

    def restore(self, *arguments: Any, **options: Any) -> RestoreReport:
        """Restore, and say so."""
        return replace(super().restore(*arguments, **options), verified=False)


class ComparesLate(BackupManager):
    """Waits before it compares."""

    def compare(self, *arguments: Any, **options: Any) -> Any:
        """Wait, and compare."""
        wait_for_go()
        return super().compare(*arguments, **options)


class Vanishing(BackupManager):
    """Compares with a backup that somebody removes just then."""

    def compare(self, ref: Any, **options: Any) -> Any:
        """Remove it, and compare."""
        Path(ref.path).unlink()
        return super().compare(ref, **options)


class DeletesLate(BackupManager):
    """Waits before it deletes."""

    def delete(self, ref: BackupInfo | str | Path, *, cascade: bool = False) -> None:
        """Wait, and delete."""
        wait_for_go()
        super().delete(ref, cascade=cascade)


class ListsSlowly(BackupManager):
    """Reads no list while the file ``slow`` is there."""

    def list(self) -> Any:
        """Wait, and list."""
        while SLOW.exists():
            time.sleep(0.01)
        return super().list()


class ReadsSlowly(BackupManager):
    """Has read the list, says so, and hands it over when the file ``slow`` is gone."""

    def list(self) -> Any:
        """List, and wait."""
        found = super().list()
        READ.touch()
        while SLOW.exists():
            time.sleep(0.01)
        return found


class DiffsLate(BackupManager):
    """Waits before it tells what differs."""

    def diff(self, *arguments: Any, progress: Any = None, **options: Any) -> Any:
        """Wait, and compare."""
        wait_for_go(lambda: progress(0, 0))  # here a cancel arrives
        return super().diff(*arguments, progress=progress, **options)


class RowsLate(BackupManager):
    """Waits when rows are about to be written."""

    def restore_rows(self, *arguments: Any, progress: Any = None, **options: Any) -> Any:
        """Write, and wait."""
        return super().restore_rows(*arguments, progress=gate(progress), **options)
