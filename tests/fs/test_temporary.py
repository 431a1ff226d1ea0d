"""Temporary files are private, and none outlives the next call, whatever ended its process."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from soulsense_db import fs
from soulsense_db.fs import temporary

_HOLDS = """
import sys, time
from soulsense_db import fs
with fs.temporary_file("secret") as path:
    path.write_text("the password")
    print(path, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the system's directory for temporary files, which is empty."""
    found = tmp_path / "tmp"
    found.mkdir()
    monkeypatch.setenv("TMPDIR", str(found))
    monkeypatch.setattr("tempfile.tempdir", None)
    return found


@pytest.fixture
def other(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Return another process, and the file that it holds."""
    program = [sys.executable, "-c", _HOLDS]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_it_is_private_and_gone_at_the_end(place: Path) -> None:
    """Nobody else may read it, whatever the umask; nothing is left, also after an error."""
    before = os.umask(0)
    try:
        with pytest.raises(KeyboardInterrupt), fs.temporary_file("copy", size_bytes=10) as path:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            for folder in (path.parent, path.parent.parent):
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            raise KeyboardInterrupt
    finally:
        os.umask(before)
    assert not list(place.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next(
    place: Path, other: tuple[subprocess.Popen[str], Path]
) -> None:
    """What is in use stays; what a killed process had is gone once another one needs a file."""
    process, path = other
    with fs.temporary_file():
        assert path.read_text() == "the password"
    process.kill()
    process.wait()
    assert path.exists()
    with fs.temporary_folder() as mine:
        assert list(place.iterdir()) == [mine.parent]
    assert not list(place.iterdir())


def test_what_is_not_ours_stays(place: Path) -> None:
    """Links, files, folders of other names, and one that is being made, are left alone."""
    (place / "elsewhere").mkdir()
    (place / "elsewhere" / "lock").touch()
    link, file, new, old = (place / f"{temporary._PREFIX}{one}" for one in "abcd")
    link.symlink_to(place / "elsewhere")
    file.touch()
    for folder in (new, old):
        folder.mkdir()
    os.utime(old, (0, 0))  # half removed long ago
    with fs.temporary_folder():
        pass
    assert sorted(place.iterdir()) == [place / "elsewhere", link, file, new]
    assert (place / "elsewhere" / "lock").exists()


def test_a_folder_that_another_process_takes_for_abandoned_is_made_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the moment before it is locked, another process may lock and remove it."""
    held = temporary._held
    taken: list[FileLock] = []

    def held_late(folder: Path) -> FileLock:
        if not taken:
            taken.append(held(folder))
        return held(folder)

    monkeypatch.setattr(temporary, "_held", held_late)
    with fs.temporary_file() as path:
        assert path.exists()
        assert len(list(place.iterdir())) == 2
    taken[0].release()
    with fs.temporary_file():
        assert len(list(place.iterdir())) == 1
