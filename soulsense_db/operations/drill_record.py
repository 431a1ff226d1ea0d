"""When a drill of any backup of a database last passed: what ``status`` asks.

Each backup's own meta file has that too, but a backup that was drilled may be removed, and one at a
mirror has its meta file there. It lies in the backup directory as ``.drills_<database>.json``.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

import msgspec

from soulsense_db import fs
from soulsense_db.errors import BackupError, MetaFileError, StorageError
from soulsense_db.meta_file import read_small_file
from soulsense_db.notices import log_ignored
from soulsense_db.operations.repository import Repository

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Record(msgspec.Struct, kw_only=True):
    format: int = 1
    passed_at: _Moment


class DrillRecordFile:
    """The file of one ``database``, in its backup ``directory``."""

    def __init__(self, directory: Path, database: Path | None) -> None:
        key = hashlib.sha256(str(database).encode(errors="surrogateescape")).hexdigest()[:12]
        self.path = directory / f".drills_{key}.json"
        self._database = database

    @classmethod
    def of(cls, repository: Repository) -> Self:
        """Return the file of the database of ``repository``."""
        return cls(repository.directory.directory, repository.known_as)

    def passed_at(self) -> datetime | None:
        """Return when a drill last passed; None where none has, or it cannot be read."""
        try:
            data = read_small_file(self.path)
            if data is None:
                return None
            return msgspec.json.decode(data, type=_Record).passed_at.astimezone(UTC)
        except (StorageError, MetaFileError, msgspec.DecodeError, OverflowError) as error:
            log_ignored(f"{self.path} is not used", error)
            return None

    def passed(self, moment: datetime) -> None:
        """Note that a drill passed; what fails is a line in the log."""
        try:
            data = msgspec.json.encode(_Record(passed_at=moment))
            fs.write_durably(self.path, data, owner_of=self._database)
        except BackupError as error:
            log_ignored(f"{self.path} could not be written", error)
