"""Faults put into the code on purpose: with each of them the matrix must find something."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from soulsense_db.backup_info.info import META_SUFFIX, BackupInfo
from soulsense_db.backup_info.meta_format import to_meta
from soulsense_db.directory.directory import BackupDirectory
from soulsense_db.directory.staging import Staging
from soulsense_db.fs import durable
from soulsense_db.mirroring import sync
from soulsense_db.mirrors import file
from soulsense_db.mirrors.file import FileMirror
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


def _upload_meta_first() -> None:
    upload = sync._Sync._upload

    def upload_meta_first(self: Any, mirror: Any, info: BackupInfo) -> None:
        there = replace(info, path=self._path_of(info))
        mirror.replace(f"{self._contents.folder}/{there.filename}{META_SUFFIX}", to_meta(there))
        upload(self, mirror, info)

    sabotaged: Any = sync._Sync
    sabotaged._upload = upload_meta_first


def _write_under_final_name() -> None:
    def create_final(stack: ExitStack, name: str, inside: int) -> tuple[str, int]:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=inside)
        stack.callback(os.close, descriptor)
        return name, descriptor

    def publish(self: FileMirror, key: str, data: bytes) -> bool:
        self.replace(key, data)
        return True

    sabotaged: Any = file
    sabotaged.create_partial = create_final
    sabotaged.remove = lambda *_: None
    sabotaged.FileMirror.create = publish


def _remove_data_first() -> None:
    def delete(self: Any, mirror: Any, name: str) -> bool:
        key = f"{self._contents.folder}/{name}"
        mirror.delete(key)
        mirror.delete(f"{key}{META_SUFFIX}")
        return True

    sabotaged: Any = sync._Sync
    sabotaged._delete = delete


SABOTAGES: dict[str, Callable[[], None]] = {
    "fsync removed": _remove_fsync,
    "rename before fsync": _rename_before_fsync,
    "staging file listed": _list_staging_files,
    "safety backup skipped": _skip_safety_backup,
    "meta file uploaded first": _upload_meta_first,
    "written under the final name": _write_under_final_name,
    "data removed first": _remove_data_first,
}


def apply(name: str) -> None:
    """Put the fault ``name`` into the code of this process; none for an empty name."""
    if name:
        SABOTAGES[name]()
