"""What an SFTP server is asked for: each request has a time in which it must be answered."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import TypeVar

import asyncssh

from soulsense_db.mirrors.directories import DIRECTORY_MODE, FILE_MODE
from soulsense_db.mirrors.sftp_transfers import Download, Pace, Upload
from soulsense_db.notices import log_ignored

T = TypeVar("T")

_MISSING = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)
# Version 3 of the protocol has one word for all that went wrong and has no other.
_REFUSED = (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a path or under a name, links not followed.

    Attributes:
        name: The name in its directory.
        is_file: Whether it is a regular file.
        is_directory: Whether it is a directory.
        size_bytes: How many bytes it has.
        mtime: When it was changed, in seconds since 1970; None where the server does not say.
    """

    name: str
    is_file: bool
    is_directory: bool
    size_bytes: int
    mtime: float | None


class Server:
    """An SFTP server, of which each method raises the library's errors and :class:`TimeoutError`.

    Args:
        client: The library's client.
        timeout: Seconds without an answer after which the connection counts as broken.
        writes_in_order: Whether all before the end of a file that was cut off has been written.

    Attributes:
        writes_in_order: As above.
    """

    def __init__(
        self, client: asyncssh.SFTPClient, timeout: float, *, writes_in_order: bool = False
    ) -> None:
        self.writes_in_order = writes_in_order
        self._client = client
        self._timeout = timeout

    async def status(self, path: str) -> Entry | None:
        """Return what is at ``path``; None where nothing is."""
        try:
            attributes = await self._answer(self._client.lstat(path))
        except _MISSING:
            return None
        return _entry(path.rpartition("/")[2], attributes)

    async def entries(self, path: str) -> AsyncIterator[Entry]:
        """Yield what is in a directory, but for names that are no text."""
        found = self._client.scandir(path.encode())
        assert isinstance(found, AsyncGenerator)
        try:
            while True:
                entry = await self._answer(anext(found, None))
                if entry is None:
                    return
                assert isinstance(entry.filename, bytes)
                try:
                    name = entry.filename.decode()
                except UnicodeDecodeError:
                    continue
                if entry.attrs.type == asyncssh.FILEXFER_TYPE_UNKNOWN or entry.attrs.size is None:
                    known = await self.status(f"{path}/{name}")
                    if known is not None:
                        yield known
                    continue
                yield _entry(name, entry.attrs)
        finally:
            await found.aclose()

    async def make_directory(self, path: str) -> bool:
        """Make a directory unless there is one; return whether it was made.

        Raises:
            asyncssh.SFTPNoSuchFile: The one above it is missing.
            NotADirectoryError: There is something else of that name, such as a link.
        """
        attributes = asyncssh.SFTPAttrs(permissions=DIRECTORY_MODE)
        try:
            await self._answer(self._client.mkdir(path, attributes))
        except (*_REFUSED, asyncssh.SFTPPermissionDenied):
            # A directory that may not be written to is refused as such, even if this one is there.
            found = await self.status(path)
            if found is None:
                raise
            if not found.is_directory:
                raise asyncssh.SFTPNotADirectory(f"{path} is not a directory") from None
            return False
        return True

    async def remove(self, path: str) -> None:
        """Delete a file; one that is gone is no error."""
        try:
            await self._answer(self._client.remove(path))
        except _MISSING:
            return

    async def rename_over(self, source: str, target: str) -> None:
        """Rename ``source``, in the place of ``target`` if there is one.

        In one step where the server can. Where it cannot, there is a moment with neither; if the
        connection breaks then, ``source`` is whole, and the next upload of that file names it.
        """
        try:
            await self._answer(self._client.posix_rename(source, target))
        except asyncssh.SFTPOpUnsupported as error:
            log_ignored("The server cannot rename over a file", error)
            await self.remove(target)
            await self._answer(self._client.rename(source, target))

    async def rename_new(self, source: str, target: str) -> bool:
        """Rename ``source`` unless there is a ``target``; return whether there was none.

        By a hard link, or by the protocol's own rename, which replaces nothing: of a server that
        does so all the same, and has no links, no more can be asked.
        """
        try:
            try:
                await self._answer(self._client.link(source, target))
            except asyncssh.SFTPOpUnsupported as error:
                log_ignored("The server has no hard links", error)
                await self._answer(self._client.rename(source, target))
            else:
                await self.remove(source)
        except _REFUSED:
            if await self.status(target) is None:
                raise
            await self.remove(source)
            return False
        return True

    async def free_bytes(self, path: str) -> int | None:
        """Return how much space is free there; None where the server does not say."""
        try:
            found = await self._answer(self._client.statvfs(path))
        except asyncssh.SFTPError as error:
            log_ignored("The server does not tell how much space is free", error)
            return None
        return found.bavail * found.frsize if found.blocks else None

    async def create(self, path: str, data: bytes) -> bool:
        """Make a new file with these contents; return whether they are in it, read back."""
        upload = await self.upload(path, start=None)
        try:
            await upload.add(data)
            await upload.finish()
        finally:
            await upload.close()
        return await self.has_contents(
            path, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )

    async def upload(self, path: str, *, start: int | None) -> Upload:
        """Return the writes to ``path``: a new file, or one that is there, from ``start`` on."""
        pace = Pace(self._client.limits.max_write_len, self._timeout)
        attributes = asyncssh.SFTPAttrs(permissions=FILE_MODE)
        mode = "xb" if start is None else "r+b"
        file = await self._answer(self._client.open(path, mode, attributes, block_size=0))
        return Upload(file, pace, start=start or 0)

    async def download(self, path: str, *, start: int = 0) -> Download:
        """Return the reads of the file ``path``."""
        pace = Pace(self._client.limits.max_read_len, self._timeout)
        file = await self._answer(self._client.open(path, "rb", block_size=0))
        size = (await self._answer(file.stat())).size or 0
        return Download(file, pace, start=start, end=size)

    async def has_contents(self, path: str, *, size_bytes: int, sha256: str) -> bool:
        """Whether the file has those contents: it is read back."""
        download = await self.download(path)
        checksum = hashlib.sha256()
        done = 0
        try:
            while piece := await download.piece():
                checksum.update(piece)
                done += len(piece)
        finally:
            await download.close()
        return done == size_bytes and checksum.hexdigest() == sha256

    async def _answer(self, awaited: Awaitable[T]) -> T:
        async with asyncio.timeout(self._timeout):
            return await awaited


def _entry(name: str, attributes: asyncssh.SFTPAttrs) -> Entry:
    return Entry(
        name=name,
        is_file=attributes.type == asyncssh.FILEXFER_TYPE_REGULAR,
        is_directory=attributes.type == asyncssh.FILEXFER_TYPE_DIRECTORY,
        size_bytes=attributes.size or 0,
        mtime=attributes.mtime,
    )
