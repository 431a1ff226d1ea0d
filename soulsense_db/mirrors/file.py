"""A mirror in a directory: on another drive, or where another machine's file system is mounted."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from filelock import Timeout

from soulsense_db import fs
from soulsense_db.errors import MirrorDeniedError, MirrorError, StorageError
from soulsense_db.mirrors.base import CHUNK, Mirror, Outgoing, StoredObject
from soulsense_db.mirrors.directories import (
    DIRECTORY_MODE,
    MARKER,
    MARKER_TEXT,
    is_plain,
    split_key,
)
from soulsense_db.mirrors.errors import (
    bad_url,
    denied,
    failed,
    full,
    no_object,
    not_prepared,
    place_missing,
    stored_differs,
    too_slow,
    unreachable,
)
from soulsense_db.mirrors.open_directory import (
    create_file,
    create_partial,
    has_contents,
    has_marker,
    is_there,
    open_directory,
    open_directory_if_there,
    remove,
    remove_leftovers,
    write_all,
)
from soulsense_db.mirrors.url import MirrorUrl
from soulsense_db.notices import ignoring, log_ignored

_LOCK = f"{MARKER}.lock"
_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
# What a drive answers that was pulled out, or a server that is gone.
_UNREACHABLE = {
    errno.EIO,
    errno.ENXIO,
    errno.ENODEV,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ETIMEDOUT,
}


class FileMirror(Mirror):
    """A directory of this machine: ``file:///mnt/usb/soulsense``.

    Each object is a file in a folder of the directory. A marker file says that the directory is
    the one that was set up: where a drive is not mounted it is missing, and nothing is stored.
    All is done through the directory that was opened, in which no link is followed.

    How long a call of the system may take is the system's own business: a network share that is
    mounted "hard" may wait for its server for ever, whatever ``timeout`` says.
    """

    schemes: ClassVar[tuple[str, ...]] = ("file",)
    needs_preparing: ClassVar[bool] = True

    def __init__(self, url: MirrorUrl, *, timeout: float = 60.0) -> None:
        super().__init__(url, timeout=timeout)
        if url.host or url.port or url.user:
            raise bad_url(
                str(url), "a directory of this machine has three slashes, as in file:///mnt/usb"
            )
        if not url.path.startswith("/") or url.path == "/":
            raise bad_url(str(url), "it names no directory")
        self._place = Path(url.path)

    def prepare(self) -> None:
        """Make the directory, but none above it, and put the marker into it."""
        with self._errors("make the directory"):
            try:
                self._place.mkdir(DIRECTORY_MODE)
            except FileExistsError:
                pass
            except FileNotFoundError as error:
                hint = f"Mount the drive, or make the directory {self._place.parent} first."
                raise place_missing(
                    self.address, f"{self._place.parent} does not exist", hint
                ) from error
            else:
                fs.sync_directory(self._place.parent)
            with ExitStack() as stack:
                place = open_directory(stack, str(self._place))
                try:
                    marker = create_file(stack, MARKER, place)
                except FileExistsError:
                    if has_marker(place):
                        return
                    raise
                write_all(marker, MARKER_TEXT)
                fs.sync_descriptor(marker)
            fs.sync_directory(self._place)

    def list_objects(self, folder: str | None = None) -> Iterator[StoredObject]:
        """Yield the files of a folder, or of all folders; what else is there is passed by."""
        with ExitStack() as stack:
            place = self._opened_place(stack)
            if folder is not None:
                if is_plain(folder):
                    yield from self._objects_of(place, folder)
                return
            for name in self._names(place):
                # Such as the lost+found of a drive, or a folder of another user.
                with ignoring(MirrorDeniedError, what=f"{name} at {self.address} is passed by"):
                    yield from self._objects_of(place, name)

    def read(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        """Yield the contents of a file."""
        folder, name = split_key(self.address, key)
        with ExitStack() as stack:
            place = self._opened_place(stack)
            with self._errors("read"):
                source = self._opened_file(stack, place, folder, name)
                if source is None:
                    raise no_object(self.address, key)
                os.lseek(source, start, os.SEEK_SET)
            while True:
                with self._errors("read"):
                    piece = os.read(source, CHUNK)
                if not piece:
                    return
                yield piece

    def write(self, key: str, file: Outgoing) -> None:
        """Store a file under another name, read it back, and give it its name."""
        self._store(key, file.chunks(), file.size_bytes, file.sha256, os.replace)

    def create(self, key: str, data: bytes) -> bool:
        """Store it under another name, and give it its own if that is free."""
        folder, name = split_key(self.address, key)
        with ExitStack() as stack, self._errors("read"):
            place = self._opened_place(stack)
            inside = open_directory_if_there(stack, folder, place)
            if inside is not None and is_there(name, inside):
                return False
        try:
            self._store_data(key, data, self._publish_new)
        except _TakenError:
            return False
        return True

    def replace(self, key: str, data: bytes) -> None:
        """Store it under another name, and give it its own."""
        self._store_data(key, data, os.replace)

    def delete(self, key: str) -> None:
        """Remove the file, and what was left of storing it."""
        folder, name = split_key(self.address, key)
        with ExitStack() as stack:
            place = self._opened_place(stack)
            with self._errors("delete"):
                inside = open_directory_if_there(stack, folder, place)
                if inside is None:
                    return
                remove(name, inside)
                remove_leftovers(name, inside)
                fs.sync_directory(self._place / folder)

    def remove_leftovers(self, folder: str) -> None:
        """Remove the files of programs that died while they stored something: they lock none."""
        with ExitStack() as stack:
            place = self._opened_place(stack)
            with self._errors("delete"):
                inside = open_directory_if_there(stack, folder, place)
                if inside is not None:
                    remove_leftovers(None, inside)

    def close(self) -> None:
        """Nothing stays open between two calls."""

    def _store_data(self, key: str, data: bytes, publish: Callable[..., None]) -> None:
        self._store(key, [data], len(data), hashlib.sha256(data).hexdigest(), publish)

    def _store(
        self,
        key: str,
        chunks: Iterable[bytes],
        size_bytes: int,
        sha256: str,
        publish: Callable[..., None],
    ) -> None:
        """Store ``chunks``; ``publish`` is called as :func:`os.replace` is."""
        folder, name = split_key(self.address, key)
        with ExitStack() as stack:
            place = self._opened_place(stack)
            with self._errors("write"):
                inside = self._made_folder(stack, place, folder)
                remove_leftovers(name, inside)
                self._require_space(inside, size_bytes)
                partial, target = create_partial(stack, name, inside)
            try:
                # What the chunks raise is not of this place: it comes out as it is.
                for chunk in chunks:
                    with self._errors("write"):
                        write_all(target, chunk)
                with self._errors("write"):
                    fs.sync_descriptor(target)
                    if not has_contents(target, size_bytes, sha256):
                        raise stored_differs(self.address, key)
                    publish(partial, name, src_dir_fd=inside, dst_dir_fd=inside)
                    fs.sync_directory(self._place / folder)
            finally:
                # The next call for this key removes what is left over.
                with ignoring(OSError, what=f"{partial} is left over at {self.address}"):
                    remove(partial, inside)

    def _publish_new(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Give it its name, which must be free; else raise :class:`_TakenError`."""
        try:
            os.link(
                source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=False
            )
        except FileExistsError:
            raise _TakenError from None
        except OSError as error:  # a file system without hard links, such as a USB drive's
            log_ignored(f"No hard link could be made at {self.address}", error)
        else:
            return
        # Whoever holds the lock is alone between the look and the renaming.
        try:
            lock = fs.acquire_lock(self._place / _LOCK, timeout=self.timeout)
        except Timeout:
            raise too_slow(self.address, self.timeout) from None
        try:
            if is_there(target, dst_dir_fd):
                raise _TakenError
            os.replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        finally:
            fs.release_lock(lock)

    def _opened_place(self, stack: ExitStack) -> int:
        """Return the directory, opened, once it is known to be the one that was set up."""
        with self._errors("read"):
            try:
                place = open_directory(stack, str(self._place))
            except (FileNotFoundError, NotADirectoryError):
                raise not_prepared(self.address) from None
            if not has_marker(place):
                raise not_prepared(self.address)
            return place

    def _made_folder(self, stack: ExitStack, place: int, folder: str) -> int:
        with ignoring(FileExistsError, what=f"{folder} is there"):
            os.mkdir(folder, DIRECTORY_MODE, dir_fd=place)
            fs.sync_directory(self._place)
        return open_directory(stack, folder, place)

    def _opened_file(self, stack: ExitStack, place: int, folder: str, name: str) -> int | None:
        """Return a file, opened; None where there is no such file."""
        inside = open_directory_if_there(stack, folder, place)
        if inside is None:
            return None
        try:
            # A pipe in its place would let us wait for a writer.
            flags = os.O_RDONLY | fs.NO_LINK | os.O_NONBLOCK
            source = os.open(name, flags, dir_fd=inside)
        except FileNotFoundError:
            return None
        stack.callback(os.close, source)
        return source if stat.S_ISREG(os.fstat(source).st_mode) else None

    def _objects_of(self, place: int, folder: str) -> Iterator[StoredObject]:
        with ExitStack() as stack:
            with self._errors("list"):
                try:
                    inside = open_directory_if_there(stack, folder, place)
                except NotADirectoryError:  # a file, or a link to a directory
                    return
            for name in self._names(inside) if inside is not None else ():
                with self._errors("list"):
                    try:
                        status = os.stat(name, dir_fd=inside, follow_symlinks=False)
                    except FileNotFoundError:  # deleted meanwhile
                        continue
                if stat.S_ISREG(status.st_mode):
                    yield StoredObject(
                        key=f"{folder}/{name}",
                        size_bytes=status.st_size,
                        modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
                    )

    def _names(self, directory: int) -> Iterator[str]:
        """Yield the names in an open directory that are not hidden."""
        with ExitStack() as stack:
            with self._errors("list"):
                entries = stack.enter_context(os.scandir(directory))
            while True:
                with self._errors("list"):
                    entry = next(entries, None)
                if entry is None:
                    return
                if is_plain(entry.name):
                    yield entry.name

    def _require_space(self, directory: int, size_bytes: int) -> None:
        """Raise before a drive is filled up: others use it, too."""
        status = os.fstatvfs(directory)
        # Some network shares do not tell.
        if status.f_blocks and status.f_bavail * status.f_frsize < size_bytes:
            reason = f"{size_bytes:,} bytes are needed"
            raise full(self.address, f"{reason}, {status.f_bavail * status.f_frsize:,} are free")

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        """Turn what the system says of the place into errors of a mirror."""
        try:
            yield
        except StorageError as error:
            if not isinstance(error.__cause__, OSError):
                raise failed(self.address, error.cause) from error
            raise self._error_of(error.__cause__, action) from error
        except OSError as error:
            raise self._error_of(error, action) from error

    def _error_of(self, error: OSError, action: str) -> MirrorError:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            return full(self.address, reason)
        if error.errno in _DENIED:
            hint = f"Check the owner and the permissions of {self._place}, and how it is mounted."
            return denied(self.address, action, reason, hint)
        if error.errno in _UNREACHABLE:
            return unreachable(self.address, reason)
        return failed(self.address, f"could not {action}: {reason}")


class _TakenError(Exception):
    """There is an object with that key."""
