"""What is known of the mirrors of one database, on disk: what is there, and what went wrong.

It lies in the backup directory as ``.mirrors_<database>.json``, and is a memory, never the truth: a
sync begins with what is at the mirror itself. What is owed is not in it either: that is every local
backup which the mirror is not known to have, whatever died when. So nothing is lost with it.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo, read_meta
from soulsense_db.errors import BackupError, MetaFileError
from soulsense_db.notices import ignoring, log_ignored

_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=6)
_MOST_BYTES = 100_000_000
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class MirrorRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is known of one mirror.

    ``folder``: where this database's backups are; ``metas``: the text of the meta file of each
    backup that is there whole, by its name; ``seen_at``: when that was found; ``failures``: how
    many attempts in a row have failed, the last one with ``error``; ``next_try_at``: until when
    nothing is tried that was not asked for; ``is_append_only``: whether removing was refused;
    ``checked``: when each backup there was last read in full and found sound; ``drilled``: when it
    was last downloaded and restored, whatever came of it; ``damaged``: what is wrong with those
    that were not sound; ``pinned``: those that were pinned here, so that a pin of another machine
    is not taken back; all by their names.
    """

    folder: str = ""
    metas: dict[str, str] = {}
    seen_at: _Moment | None = None
    failures: int = 0
    error: str = ""
    next_try_at: _Moment | None = None
    is_append_only: bool = False
    checked: dict[str, _Moment] = {}
    drilled: dict[str, _Moment] = {}
    damaged: dict[str, str] = {}
    pinned: set[str] = set()

    def succeeded(self) -> None:
        """Note that what there was to do is done."""
        self.failures, self.error, self.next_try_at = 0, "", None

    def failed(self, error: str, now: datetime) -> None:
        """Note a failure: the next try is later each time."""
        pause = min(_FIRST_PAUSE * 2 ** min(self.failures, 20), _LONGEST_PAUSE)
        self.failures += 1
        self.error, self.next_try_at = error, now + pause

    def is_paused(self, now: datetime) -> bool:
        """Whether a pause after a failure goes on."""
        # A later end than any pause has was noted before the clock was set back.
        return self.next_try_at is not None and now < self.next_try_at <= now + _LONGEST_PAUSE

    def backups(self, address: str) -> list[BackupInfo]:
        """Return the facts of what is there, newest first; ``address`` of the mirror."""
        found = []
        for name, text in self.metas.items():
            with ignoring(MetaFileError, what=f"The meta file of {name} is not used"):
                facts = read_meta(text.encode(), f"{address}/{self.folder}/{name}")
                if isinstance(facts, BackupInfo):
                    found.append(facts)
        return sorted(found, key=lambda info: info.order, reverse=True)

    def forget_all_but(self, names: set[str]) -> None:
        """Forget what is known of backups that are not there any more."""
        for known in (self.metas, self.checked, self.drilled, self.damaged):
            for name in known.keys() - names:
                del known[name]
        self.pinned &= names


class _File(msgspec.Struct, kw_only=True):
    format: int = 1
    mirrors: dict[str, MirrorRecord] = {}


class RecordFile:
    """The file of the records of one ``database``, in its backup ``directory``."""

    def __init__(self, directory: Path, database: Path | None) -> None:
        key = hashlib.sha256(str(database).encode(errors="surrogateescape")).hexdigest()[:12]
        self.path = directory / f".mirrors_{key}.json"
        self.lock_path = directory / f".mirrors_{key}.lock"
        self.work_prefix = f".mirrors_{key}_"
        self._database = database

    def read(self) -> dict[str, MirrorRecord]:
        """Return the records by address; one that cannot be read is as none: it is made anew."""
        try:
            # Something else in its place, such as a pipe, must not let us wait.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | fs.NO_LINK | fs.BINARY
            with os.fdopen(os.open(self.path, flags), "rb") as file:
                return msgspec.json.decode(file.read(_MOST_BYTES), type=_File).mirrors
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log_ignored(f"{self.path} is not used", error)
            return {}

    def write(self, address: str, record: MirrorRecord) -> None:
        """Put ``record`` in the place of the one for ``address``. Call it under the lock.

        What fails is a line in the log: the record is found again at the mirror.
        """
        records = self.read()
        records[address] = record
        data = msgspec.json.encode(_File(mirrors=records))
        try:
            fs.write_durably(self.path, data, owner_of=self._database)
        except BackupError as error:
            log_ignored(f"{self.path} could not be written", error)
