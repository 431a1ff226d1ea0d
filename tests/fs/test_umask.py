"""Who may read what is made: its owner, whatever the umask; and nothing else of a umask shows."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from helpers import NOBODY, make_database, run_as

from soulsense_db.fs import durable

UMASKS = [0, 0o022, 0o077, 0o277, 0o777]
USERS = [0, NOBODY]


@pytest.mark.slow
@pytest.mark.parametrize("user", USERS, ids=["root", "nobody"])
@pytest.mark.parametrize("umask", UMASKS, ids=[f"{umask:04o}" for umask in UMASKS])
def test_all_that_is_made_is_for_its_owner_alone(open_path: Path, umask: int, user: int) -> None:
    """Files are exactly 0600 and directories 0700 under any umask, also while work goes on.

    Backups, meta files, locks, staging files, safety backups, exports, markers, a rebuilt database,
    and the directories above, for root and for a user who needs the bits to go on working. A
    database that was there keeps its own mode.
    """
    given = ["app.db", "outside.db"]
    for name in given:
        make_database(open_path / name).chmod(0o640)
        if os.getuid() == 0:
            os.chown(open_path / name, user, user)
    if os.getuid() == 0:
        os.chown(open_path, user, user)
    answer = run_as(user, "make_everything", open_path, umask)
    assert answer["error"] is None, answer
    seen = answer["seen"]
    assert answer["rebuilt"] == 0o640
    assert any(name.endswith(".staging") for name in seen)
    made = dict(seen)
    for folder, folders, names in os.walk(open_path):
        for name in [*folders, *names]:
            path = Path(folder, name)
            made[str(path.relative_to(open_path))] = path.lstat().st_mode
    # Not made here, moved aside as it is, or SQLite's own, which has the mode of its database.
    for name in [n for n in made if n.startswith(("outside.db", "app.db.damaged_", "app.db-"))]:
        del made[name]
    made["app.db"] = (open_path / "app.db").stat().st_mode  # made anew where there was none
    wanted = {True: stat.S_IFDIR | 0o700, False: stat.S_IFREG | 0o600}
    wrong = {name: oct(mode) for name, mode in made.items() if mode != wanted[stat.S_ISDIR(mode)]}
    assert wrong == {}


def test_what_has_no_permissions_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system without permissions, which refuses to set them, files are made all the same.

    They are as private as it makes them.
    """

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    before = os.umask(0o277)
    try:
        monkeypatch.setattr(os, "fchmod", refuse)
        monkeypatch.setattr(Path, "chmod", refuse)
        durable.make_private_directory(tmp_path / "made")
        durable.create_private_file(tmp_path / "file")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o400
