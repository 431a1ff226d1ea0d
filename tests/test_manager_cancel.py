"""What a progress raises: the work is cancelled, and nothing of it is left."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import digest, flip, make_database

from soulsense_db import BackupManager
from soulsense_db.drivers import Progress
from soulsense_db.drivers.sqlite import pages
from soulsense_db.errors import DatabaseDamagedError
from soulsense_db.fs import reading


class CancelledError(Exception):
    """The person pressed "Cancel"."""


Work = Callable[[BackupManager, Path, Progress], object]
"""Something to cancel, with a folder of its own that holds ``outside.db``."""

MAKE: dict[str, Work] = {
    "create": lambda manager, _, progress: manager.create("one", progress=progress),
    "import": lambda manager, folder, progress: manager.import_file(
        folder / "outside.db", progress=progress
    ),
}


def _cancelled_everywhere(work: Callable[[Progress], object]) -> list[tuple[int, int]]:
    """Cancel ``work`` at its first call, then at its second, and so on, until it is done.

    Returns the calls of that last time.
    """
    calls: list[tuple[int, int]] = []
    reached = 0

    def progress(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) > reached:
            raise CancelledError

    while True:
        calls.clear()
        try:
            work(progress)
        except CancelledError:
            reached += 1
        else:
            return calls


@pytest.mark.parametrize("name", MAKE)
def test_a_new_backup_can_be_cancelled_up_to_the_last_call(
    manager: BackupManager,
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Whichever call raises, the very last one too: no file, no meta file, no row, no staging."""
    monkeypatch.setattr(pages, "_STEP_PAGES", 8)
    make_database(tmp_path / "outside.db")
    before = digest(database)
    cancelled = 0

    def work(progress: Progress) -> None:
        nonlocal cancelled
        try:
            MAKE[name](manager, tmp_path, progress)
        except CancelledError:
            cancelled += 1
            assert set(os.listdir(manager.directory)) == {".gitignore", ".soulsense_backup.lock"}
            assert manager.catalog.names() is None
            assert digest(database) == before
            raise

    calls = _cancelled_everywhere(work)
    (made,) = manager.list()
    assert cancelled == len(calls) > 3
    assert calls == sorted(calls)
    assert calls[-2:] == [(made.size_bytes, made.size_bytes)] * 2
    assert manager.catalog.names() == frozenset({made.filename})
    assert manager.verify(made).checksum


def test_the_last_call_comes_when_the_copy_is_checked(
    manager: BackupManager, database: Path
) -> None:
    """Nobody is told of the end of a backup that fails its check: it is never made."""
    calls: list[tuple[int, int]] = []
    flip(database, 4096 * 3, 0xFF)
    with pytest.raises(DatabaseDamagedError):
        manager.create(progress=lambda *call: calls.append(call))
    assert [done == total for done, total in calls].count(True) == 1


def test_an_export_can_be_cancelled_in_either_pass(
    manager: BackupManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the backup is verified, and while it is copied: nothing is there, and it stays."""
    monkeypatch.setattr(reading, "_BLOCK", 16 * 1024)
    info = manager.create()
    to = tmp_path / "to"
    to.mkdir()
    before = Path(info.path).read_bytes()
    names = sorted(os.listdir(manager.directory))

    def work(progress: Progress) -> None:
        try:
            manager.export(info, to, progress=progress)
        except CancelledError:
            assert os.listdir(to) == []
            assert sorted(os.listdir(manager.directory)) == names
            assert Path(info.path).read_bytes() == before
            raise

    calls = _cancelled_everywhere(work)
    middle = len(calls) // 2
    assert calls[:middle] == calls[middle:] == sorted(calls[:middle])
    assert middle > 3
    assert calls[-1] == (info.size_bytes, info.size_bytes)
    assert (to / info.filename).read_bytes() == before
