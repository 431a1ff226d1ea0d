"""What is in one folder at a mirror, as backups with their facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from soulsense_db.backup_info import (
    MAX_META_BYTES,
    META_SUFFIX,
    BackupInfo,
    bases_for,
    read_meta,
    without_base,
)
from soulsense_db.errors import BackupNotFoundError, MetaFileError
from soulsense_db.mirroring.errors import base_not_there, object_changed
from soulsense_db.mirroring.job import Stop, persistently
from soulsense_db.mirrors import (
    Folder,
    Mirror,
    MirrorRecord,
    StoredBackup,
    StoredObject,
    folders_in,
    token_in,
    token_of,
)
from soulsense_db.notices import ignoring, log_ignored


@dataclass(slots=True)
class Contents:
    """What ``folder`` of a mirror has.

    ``backups``: those that are whole, by token; ``damaged``: why others are not, by name;
    ``baseless``: differentials, by token, that are among the damaged because no base of theirs is
    whole; ``alone``: data without a meta file, or the other way round.
    """

    folder: str
    backups: dict[str, BackupInfo] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    baseless: dict[str, BackupInfo] = field(default_factory=dict)
    alone: list[StoredObject] = field(default_factory=list)

    def newest_first(self) -> list[BackupInfo]:
        """Return those that are whole."""
        return sorted(self.backups.values(), key=lambda info: info.order, reverse=True)

    def leave_out_baseless(self, address: str) -> None:
        """Let no differential count that cannot be restored; ``address`` of the mirror."""
        for info in without_base(self.backups.values()):
            self.baseless[token_of(info)] = self.backups.pop(token_of(info))
            self.damaged[info.filename] = base_not_there(address, info.filename).cause

    def count_baseless(self, with_bases: Iterable[BackupInfo]) -> None:
        """Let those count again that have a base among ``with_bases``."""
        bases = list(with_bases)
        for token, info in list(self.baseless.items()):
            if bases_for(info, bases):
                self.backups[token] = self.baseless.pop(token)
                self.damaged.pop(info.filename, None)


def contents_of(mirror: Mirror, folder: str, record: MirrorRecord, stop: Stop) -> Contents:
    """Return what is in ``folder`` now, and note it in ``record``.

    Meta files that ``record`` has are not read again, unless they have another size.
    """
    objects = persistently(lambda: list(_checked(mirror.list_objects(folder), stop)), stop)
    found = folders_in(objects).get(folder, Folder())
    contents = Contents(folder, alone=found.alone)
    for stored in found.backups.values():
        key = f"{folder}/{stored.name}"
        text = record.metas.get(stored.name)
        if text is None or len(text.encode()) != stored.meta_bytes:
            text = _meta_text(mirror, key, stop)
        if text is not None:
            _add(contents, stored, text, mirror.address, record)
    contents.leave_out_baseless(mirror.address)
    for name in contents.damaged:
        record.metas.pop(name, None)
    record.forget_all_but({stored.name for stored in found.backups.values()})
    return contents


def _checked(objects: Iterable[StoredObject], stop: Stop) -> Iterator[StoredObject]:
    for found in objects:
        stop.check()
        yield found


def _meta_text(mirror: Mirror, key: str, stop: Stop) -> str | None:
    """Return the text of a meta file; None where it was removed a moment ago."""
    try:
        data = persistently(lambda: _small(mirror, f"{key}{META_SUFFIX}"), stop)
    except BackupNotFoundError as error:
        log_ignored(f"{key} is not listed", error)
        return None
    return data.decode(errors="replace")  # what is no text fails its own checksum


def meta_there(mirror: Mirror, folder: str, name: str, stop: Stop) -> BackupInfo | None:
    """Return what the meta file of a backup says now; None where it says nothing."""
    text = _meta_text(mirror, f"{folder}/{name}", stop)
    if text is None:
        return None
    with ignoring(MetaFileError, what=f"The meta file of {name} is not used"):
        info = read_meta(text.encode(), f"{mirror.address}/{folder}/{name}")
        return info if isinstance(info, BackupInfo) else None
    return None


def _small(mirror: Mirror, key: str) -> bytes:
    data = bytearray()
    for piece in mirror.read(key):
        data += piece
        if len(data) > MAX_META_BYTES:
            break  # it is none of ours, and fails its check
    return bytes(data[: MAX_META_BYTES + 1])


def _add(
    contents: Contents, stored: StoredBackup, text: str, address: str, record: MirrorRecord
) -> None:
    try:
        info = read_meta(text.encode(), f"{address}/{contents.folder}/{stored.name}")
        if not isinstance(info, BackupInfo) or info.sha256 is None:
            contents.damaged[stored.name] = "its meta file has no facts"
            return
    except MetaFileError as error:
        contents.damaged[stored.name] = error.cause
        return
    if token_of(info) != token_in(stored.name):
        contents.damaged[stored.name] = "its meta file is that of another backup"
        return
    if info.size_bytes != stored.size_bytes:
        short = stored.size_bytes < info.size_bytes
        contents.damaged[stored.name] = object_changed(address, stored.name, is_short=short).cause
        return
    if stored.name in record.damaged:
        contents.damaged[stored.name] = record.damaged[stored.name]
        return
    record.metas[stored.name] = text
    contents.backups[token_of(info)] = info
