"""Which base a differential has, where its meta file is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.codecs import StreamError, read_differential_header
from soulsense_db.notices import log_ignored


def with_base(info: BackupInfo) -> BackupInfo:
    """Return ``info``; of a differential without a meta file its header says which base it has.

    That of an encrypted one is encrypted as well, and says nothing here.
    """
    if not info.form.is_differential or info.form.is_encrypted or info.base_sha256:
        return info
    try:
        with Path(info.path).open("rb") as file:
            return replace(info, base_sha256=read_differential_header(file).base_sha256)
    except (OSError, StreamError) as error:
        log_ignored(f"Which base {info.filename} has cannot be read", error)
        return info
