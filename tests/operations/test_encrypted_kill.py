"""A process that works with encrypted backups is killed: where its plaintext is, and how long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from age_keys import Key
from conftest import EngineMaker
from forms import MARKER, add_noise, files_with, how, require_private
from helpers import Child, add_child, digest

from soulsense_db import BackupManager

_MOMENTS = [
    (work, stored, moment)
    for work in ("create", "restore", "verify", "compare")
    for stored in ("none", "zstd", "differential")
    for moment in (1, 4, 9, 14)
]


@pytest.mark.slow
@pytest.mark.parametrize(("work", "stored", "moment"), _MOMENTS)
def test_a_killed_process_leaves_no_plaintext_for_long(
    database: Path,
    tmp_path: Path,
    make_engine: EngineMaker,
    key: Key,
    *,
    work: str,
    stored: str,
    moment: int,
) -> None:
    """At no moment it is in the backup directory; beside the database the next call removes it."""
    options = how({"none": "plain", "differential": "diff"}.get(stored, stored), "key", key)
    add_noise(database, 3)
    manager = BackupManager(make_engine(database), **options)
    manager.create("the base")
    add_child(database, MARKER)
    manager.create("Before the import")
    rows = digest(database)
    add_child(database)
    with Child("killed_at_a_stage.py", work, database, stored, key.public, key.path) as child:
        for _ in range(moment):
            if child.line() in ("", "done"):
                break
            assert files_with(manager.directory, MARKER) == []
            child.tell("")
        child.kill()
    assert files_with(manager.directory, MARKER) == []
    others: dict[str, Callable[[], object]] = {
        "create": lambda: manager.verify("latest"),
        "verify": lambda: manager.compare("latest"),
        "compare": lambda: manager.restore("latest"),
        "restore": manager.create,
    }
    others[work]()
    assert list(tmp_path.glob(".app.db.work-*")) == []
    manager.restore(next(i for i in manager.list() if _is_described(manager, i.filename)))
    assert digest(database) == rows
    manager.create("the last")
    require_private(tmp_path)


def _is_described(manager: BackupManager, name: str) -> bool:
    return manager.description_of(name) == "Before the import"
