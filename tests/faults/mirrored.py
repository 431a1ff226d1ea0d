"""A mirror in a directory outside of the database's folder: what is done and what is there.

It is looked at by its files alone, not by the code that is under faults.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.backup_info import META_SUFFIX
from soulsense_db.manager import ManagerOptions
from soulsense_db.mirroring import job
from soulsense_db.mirrors import RecordFile, mirror_for

NAME = "mirror"
APPEND_ONLY = "append-only"
_FOLDER = "journal"  # of this database at the mirror
# More calls of one name than the main thread makes before it hands over.
_APART = 50


def place_of(folder: Path) -> Path:
    """Return the directory of the mirror."""
    return folder.parent / NAME


def files_at(folder: Path) -> list[str]:
    """Return all names at the mirror, the hidden ones as well."""
    inside = place_of(folder) / _FOLDER
    return sorted(os.listdir(inside)) if inside.exists() else []


def whole_at(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the meta files of what is at the mirror with its data, by name."""
    inside = place_of(folder) / _FOLDER
    metas = [name for name in files_at(folder) if name[0] != "." and name.endswith(META_SUFFIX)]
    return {
        name.removesuffix(META_SUFFIX): json.loads((inside / name).read_bytes())
        for name in metas
        if (inside / name.removesuffix(META_SUFFIX)).exists()
    }


def metas_alone_at(folder: Path) -> list[str]:
    """Return the meta files at the mirror without data, which comes first and goes last."""
    names = [name for name in files_at(folder) if name[0] != "."]
    return [
        name
        for name in names
        if name.endswith(META_SUFFIX) and name.removesuffix(META_SUFFIX) not in names
    ]


def sha256_at(folder: Path, name: str) -> str:
    """Return the checksum of data at the mirror."""
    return hashlib.sha256((place_of(folder) / _FOLDER / name).read_bytes()).hexdigest()


def options_of(folder: Path, keep_last: int = 0) -> ManagerOptions:
    """Return the options of a manager with the mirror, which keeps so many backups, or all."""
    return ManagerOptions(
        mirrors=place_of(folder).as_uri(),
        mirror_folder=_FOLDER,
        mirror_retention=RetentionPolicy(keep_last=keep_last),
    )


def set_up(manager: BackupManager) -> None:
    """Make the mirror of ``manager``, and bring it in step."""
    (address,) = manager.mirrors.addresses
    with mirror_for(address) as mirror:
        mirror.prepare()
    sync(manager)


def sync(manager: BackupManager) -> str:
    """Bring the mirror in step; raise what is in the report, say that nothing can be removed."""
    (report,) = manager.mirrors.sync()
    for error in (report.error, *report.problems):
        if error is not None:
            raise error
    return APPEND_ONLY if report.is_append_only else ""


def lose_backups(folder: Path) -> None:
    """Remove every backup, and what is known of mirrors, from the backup directory."""
    shutil.rmtree(folder / "backups")
    (folder / "backups").mkdir(mode=0o700)


def move_record(folder: Path) -> None:
    """Let what is known of the mirror be known of it, and of the database, at this place.

    They were copied to ``folder`` with all the rest.
    """
    for path in list((folder / "backups").glob(".mirrors_*.json")):
        record = json.loads(path.read_bytes())
        record["mirrors"] = dict.fromkeys([place_of(folder).as_uri()], *record["mirrors"].values())
        path.unlink()
        RecordFile(folder / "backups", folder / "app.db").path.write_text(json.dumps(record))


def speed_up() -> None:
    """Let nothing in this process wait before another try, and keep the calls of threads apart.

    A fault comes at the n-th call of any thread: that of the thread which works at the mirror is
    not to have the number of an earlier one of the main thread.
    """
    patched: Any = job
    patched._PAUSES_SECONDS = (0.0, 0.0, 0.0)
    run = threading.Thread.run

    def run_apart(thread: threading.Thread) -> None:
        if thread.name.startswith("mirror "):
            for _ in range(_APART):
                with suppress(OSError):  # a fault that the main thread has had
                    os.close(os.open(os.devnull, os.O_RDONLY))
        run(thread)

    patched = threading.Thread
    patched.run = run_apart
