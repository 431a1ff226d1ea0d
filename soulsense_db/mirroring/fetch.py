"""Bring a backup back from a mirror: into the backup directory, or into a folder for a while."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO, FileIO
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo, bases_for, to_meta
from soulsense_db.codecs import Identities
from soulsense_db.errors import (
    BackupError,
    MirrorError,
    MirrorNotFoundError,
    MirrorUnreachableError,
    Outcome,
)
from soulsense_db.mirroring.contents import Contents, contents_of
from soulsense_db.mirroring.errors import (
    base_not_there,
    databases_mixed,
    no_mirror_there,
    no_such_folder,
    none_fits,
    none_there,
    object_changed,
    several_databases,
    several_fit,
)
from soulsense_db.mirroring.job import Stop, persistently
from soulsense_db.mirrors import (
    Mirror,
    MirrorRecord,
    MirrorUrl,
    folders_in,
    mirror_for,
    token_in,
    token_of,
)
from soulsense_db.notices import ignoring, log_ignored, warn
from soulsense_db.operations import Repository, doubts_about, origin_facts, require_key_of

# More than any header, and the piece behind it that proves the key.
_BEGINNING_BYTES = 1_000_000
_REVISION = re.compile(r"revision:(.+)")
_LATEST = re.compile(r"latest(?:~(\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class Place:
    """A mirror, and the folder there that is meant; None where its URL names none."""

    url: MirrorUrl
    folder: str | None = None


def folder_meant(mirror: Mirror, wanted: str | None, usual: str | None, stop: Stop) -> str:
    """Return the folder that is meant: ``wanted``, else ``usual`` if it is there.

    Else it is the only one. Raises :class:`~soulsense_db.errors.AmbiguousReferenceError` where
    there are several.
    """
    objects = persistently(lambda: list(mirror.list_objects(wanted)), stop)
    folders = [name for name, found in folders_in(objects).items() if found.backups]
    if not folders:
        raise none_there(f"{mirror.address}/{wanted}" if wanted else mirror.address)
    if wanted is not None:
        return wanted
    if usual in folders:
        return str(usual)
    if len(folders) > 1:
        raise several_databases(mirror.address, folders)
    return folders[0]


def place_of(url: str, stop: Stop) -> Place:
    """Return what ``url`` means: a mirror, or a folder of one, as ``mirror list`` shows them."""
    parsed = MirrorUrl.of(url)
    above, _, name = parsed.path.rpartition("/")
    with mirror_for(parsed) as mirror:
        missing: MirrorNotFoundError | None = None
        try:
            if folders_in(persistently(lambda: list(mirror.list_objects()), stop)):
                return Place(parsed)
        except MirrorNotFoundError as error:
            missing = error
    if name:
        with ignoring(MirrorError, what=f"{url} is no folder of a mirror"):
            outer = replace(parsed, path=above)
            with mirror_for(outer) as mirror:
                known = list(folders_in(persistently(lambda: list(mirror.list_objects()), stop)))
                if name in known:
                    return Place(outer, name)
                if known:
                    raise no_such_folder(mirror.address, name, known)
    if missing is not None:
        raise no_mirror_there(str(parsed)) from missing
    return Place(parsed)


def one_of(backups: Sequence[BackupInfo], ref: str, address: str) -> BackupInfo:
    """Return the one of ``backups``, newest first, that ``ref`` names.

    An id or the beginning of it, a file name here or there, ``latest`` or ``latest~1``, or
    ``revision:`` with a revision of Alembic or its beginning.
    """
    if latest := _LATEST.fullmatch(ref):
        candidates = [info for info in backups if not doubts_about(info)]
        back = int(latest[1] or 0)
        if back >= len(candidates):
            raise none_fits(address, ref)
        return candidates[back]
    if revision := _REVISION.fullmatch(ref):
        for info in backups:
            at_it = any(head.startswith(revision[1]) for head in info.alembic_heads)
            if at_it and not doubts_about(info):
                return info
        raise none_fits(address, ref)
    fitting = [info for info in backups if ref in _names(info) or (ref and info.id.startswith(ref))]
    if not fitting:
        raise none_fits(address, ref)
    if len(fitting) > 1:
        raise several_fit(address, ref, [f"{i.id} ({i.timestamp_display})" for i in fitting])
    return fitting[0]


def _names(info: BackupInfo) -> tuple[str, str]:
    """Return the name of a backup at the mirror, and the one where it was made."""
    return info.filename, info.filename.replace(f"_{token_in(info.filename)}", "", 1)


class Fetching:
    """Downloads from one folder of a mirror."""

    def __init__(self, mirror: Mirror, folder: str, record: MirrorRecord, stop: Stop) -> None:
        self._mirror = mirror
        self._stop = stop
        self.contents: Contents = contents_of(mirror, folder, record, stop)

    @property
    def mirror_address(self) -> str:
        """The mirror, as a URL."""
        return self._mirror.address

    @property
    def address(self) -> str:
        """The folder, as a URL."""
        return f"{self._mirror.address}/{self.contents.folder}"

    def named(self, ref: str, repository: Repository) -> BackupInfo:
        """Return the backup there that ``ref`` names.

        ``latest`` is one of this database, where the folder has any of it. Where it has none, and
        those of several, nobody knows which one is meant.
        """
        backups = self.contents.newest_first()
        if not backups:
            raise none_there(self.address)
        if _LATEST.fullmatch(ref):
            own = [info for info in backups if repository.finder.may_be_own(info)]
            names = sorted({info.database or "" for info in backups})
            if not own and len(names) > 1:
                raise databases_mixed(self.address, ref, names)
            backups = own or backups
        return one_of(backups, ref, self.address)

    def require_key(self, info: BackupInfo, identities: Identities) -> None:
        """Raise unless one of ``identities`` opens ``info``, and its base, if they are encrypted.

        Only the beginning of each is downloaded. Raises
        :class:`~soulsense_db.errors.IdentityError`.
        """
        for needed in (info, *bases_for(info, self.contents.backups.values())[:1]):
            if needed.form.is_encrypted:
                data = persistently(partial(self._beginning, needed.filename), self._stop)
                require_key_of(needed, BytesIO(data), identities)

    def _beginning(self, name: str) -> bytes:
        data = bytearray()
        for piece in self._mirror.read(f"{self.contents.folder}/{name}"):
            data += piece
            if len(data) >= _BEGINNING_BYTES:
                break
        return bytes(data)

    def to_directory(self, repository: Repository, info: BackupInfo) -> BackupInfo:
        """Make ``info``, which is there, a backup of ``repository``; return its facts here.

        With its base, where it is a differential. What is here already is not downloaded.
        """
        here = repository.finder.list()
        token = token_of(info)
        for known in here:
            if token_of(known) == token and known.sha256 == info.sha256 and _is_sound(known):
                return known
        if info.base_sha256 is None:
            return self._brought(repository, info, None)
        if found := next(filter(_is_sound, bases_for(info, here)), None):
            return self._brought(repository, info, found)
        base = self.to_directory(repository, self._base_of(info))
        try:
            return self._brought(repository, info, base)
        except BackupError as error:
            if error.outcome is Outcome.UNCHANGED:  # not quite: the base is here
                error.with_outcome(Outcome.PARTLY)
            raise

    def _brought(
        self, repository: Repository, info: BackupInfo, base: BackupInfo | None
    ) -> BackupInfo:
        """Download ``info``, whose ``base`` is here, and publish it."""
        directory = repository.directory
        fs.require_space(directory.directory, info.size_bytes)
        with directory.stage(info.created_at, info.description, ending=info.form.ending) as staging:
            self.to_file(info, staging.path)
            _warn_of_another_name(repository, info)
            facts = origin_facts(repository.driver, directory.directory)
            brought = replace(info, path=str(staging.final), **facts)
            directory.publish(staging, brought, base=base)
        return brought

    def to_folder(self, info: BackupInfo, folder: Path) -> Path:
        """Download ``info``, and its base, into ``folder``, with meta files; return its path."""
        target = folder / info.filename
        if info.base_sha256 is not None:
            base = self._base_of(info)
            self._with_meta(base, folder / base.filename)
            info = replace(info, base_name=base.filename)
        return self._with_meta(info, target)

    def _with_meta(self, info: BackupInfo, target: Path) -> Path:
        fs.create_private_file(target)
        self.to_file(info, target)
        placed = replace(info, path=str(target))
        fs.write_durably(Path(placed.meta_path), to_meta(placed))
        return target

    def _base_of(self, info: BackupInfo) -> BackupInfo:
        found = bases_for(info, self.contents.backups.values())
        if not found:
            raise base_not_there(self.address, info.filename)
        return found[0]

    def to_file(self, info: BackupInfo, target: Path) -> None:
        """Download the data of ``info`` into the existing file ``target``, and compare it."""
        self._stop.total += info.size_bytes
        with ThreadPoolExecutor(1) as thread, _writing(target) as file:
            found = self._received(info, target, file, thread)
        if found != info.sha256:
            raise object_changed(self.address, info.filename, is_short=False)
        self._stop.finished(info.size_bytes)

    def _received(
        self, info: BackupInfo, target: Path, file: FileIO, thread: ThreadPoolExecutor
    ) -> str:
        """Write what comes to the open ``target`` and return its checksum, made in ``thread``.

        It goes on where a connection broke.
        """
        checksum = hashlib.sha256()
        # Of the piece before: while that is read, the next one comes and is written.
        hashed = thread.submit(checksum.update, b"")
        done = 0
        key = f"{self.contents.folder}/{info.filename}"

        def receive() -> None:
            nonlocal done, hashed
            for piece in self._mirror.read(key, start=done):
                hashed.result()
                hashed = thread.submit(checksum.update, piece)
                with fs.storage_errors("write", target):  # what else is raised is no error of it
                    _write_all(file, piece)
                done += len(piece)
                self._stop.told(done)
                if done > info.size_bytes:
                    return

        self._as_long_as_it_comes(receive, lambda: done)
        if done != info.size_bytes:
            raise object_changed(self.address, info.filename, is_short=done < info.size_bytes)
        hashed.result()
        return checksum.hexdigest()

    def _as_long_as_it_comes(self, receive: Callable[[], None], done: Callable[[], int]) -> None:
        """Try again where a connection broke, and not fewer times for what came before."""
        while True:
            before = done()
            try:
                persistently(receive, self._stop)
                return
            except MirrorUnreachableError as error:
                if done() == before:
                    raise
                log_ignored("The download goes on", error)


def _warn_of_another_name(repository: Repository, info: BackupInfo) -> None:
    """Say on a server of which database a backup is that has another name: it may be the wrong one.

    The same name at another place is usual: the application has moved; and so is another file.
    """
    was, live = info.database, repository.driver.database
    if repository.driver.location is None and was and Path(was).name != Path(live).name:
        warn(f"{info.filename} is a backup of {was}. It becomes one of {live}.")


@contextmanager
def _writing(target: Path) -> Iterator[FileIO]:
    """Open a file that is there, to write it anew; its errors are those of the tree.

    Nothing is buffered: what could not be written would be tried again when it is closed.
    """
    with fs.storage_errors("write", target):
        file = target.open("wb", buffering=0)
    try:
        yield file
    except BaseException:
        with ignoring(OSError, what=f"{target} could not be closed"):
            file.close()
        raise
    with fs.storage_errors("write", target):
        file.close()


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _is_sound(info: BackupInfo) -> bool:
    """Whether the stored bytes of a local backup are what they were."""
    try:
        return fs.sha256_of(Path(info.path)) == info.sha256
    except (BackupError, OSError) as error:
        log_ignored(f"{info.filename} is downloaded, for it cannot be read here", error)
        return False
