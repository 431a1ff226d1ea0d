"""The lock of a live database."""

from __future__ import annotations

from pathlib import Path

import pytest

from soulsense_db.sidecars.lock import LiveLock


@pytest.mark.parametrize("has_file", [False, True])
def test_a_directory_that_the_lock_makes_stays_out_of_git(tmp_path: Path, has_file: bool) -> None:
    """Of a database on a server it is that of the backups; beside a file it is not ours."""
    place = tmp_path / "new" / "shop"
    owner_of = tmp_path if has_file else None
    LiveLock(place, name="shop", owner_of=owner_of, timeout=1).release()
    assert (place.parent / ".gitignore").exists() == (not has_file)
