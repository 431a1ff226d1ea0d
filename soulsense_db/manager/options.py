"""The options of a manager, for what passes them on."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from soulsense_db.codecs import Compression
from soulsense_db.mirroring import MirrorsOption
from soulsense_db.operations import DifferentialPolicy, IdentitiesOption, RecipientsOption
from soulsense_db.retention import RetentionPolicy


class ManagerOptions(TypedDict, total=False):
    """The options of :class:`BackupManager`, for what passes them on."""

    prefix: str
    catalog: bool | str
    retention: RetentionPolicy | None
    compression: Compression | str | None
    differential: DifferentialPolicy | bool
    recipients: RecipientsOption
    identities: IdentitiesOption
    describe_openly: bool
    work_directory: str | Path | None
    tools: str | Path | None
    jobs: int
    mirrors: MirrorsOption
    mirror_retention: RetentionPolicy | None
    mirror_folder: str | None
    mirror_deadline: float
    lock_timeout: float
