"""Faults put into the code on purpose: with each of them the matrix must find something."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soulsense_db.backup_info.info import META_SUFFIX, BackupInfo
from soulsense_db.backup_info.meta_format import to_meta
from soulsense_db.directory.directory import BackupDirectory
from soulsense_db.directory.staging import Staging
from soulsense_db.fs import durable
from soulsense_db.sidecars.safety_backup import SafetyFiles


def _remove_fsync() -> None:
    system: Any = os
    system.fsync = system.fdatasync = lambda _: None


def _rename_before_fsync() -> None:
    def publish(
        storage: BackupDirectory, staging: Staging, info: BackupInfo, *, base: BackupInfo | None
    ) -> None:
        assert base is None
        with storage._lock():
            durable.write_durably(Path(f"{staging.final}{META_SUFFIX}"), to_meta(info))
            durable.move_durably(staging.path, staging.final)
        durable.sync_file(staging.final)

    sabotaged: Any = BackupDirectory
    sabotaged.publish = publish


def _list_staging_files() -> None:
    is_backup_name = BackupDirectory._is_backup_name

    def is_also_staging(storage: BackupDirectory, name: str) -> bool:
        return is_backup_name(storage, name.removeprefix(".").removesuffix(".staging"))

    sabotaged: Any = BackupDirectory
    sabotaged._is_backup_name = is_also_staging


def _skip_safety_backup() -> None:
    def place(safety: SafetyFiles, *_: Any, **__: Any) -> None:
        durable.remove(safety.staging)

    sabotaged: Any = SafetyFiles
    sabotaged.place = place


SABOTAGES: dict[str, Callable[[], None]] = {
    "fsync removed": _remove_fsync,
    "rename before fsync": _rename_before_fsync,
    "staging file listed": _list_staging_files,
    "safety backup skipped": _skip_safety_backup,
}


def apply(name: str) -> None:
    """Put the fault ``name`` into the code of this process; none for an empty name."""
    if name:
        SABOTAGES[name]()
