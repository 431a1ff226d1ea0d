"""A mirror in a directory of a server that one reaches by SSH."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from soulsense_db.errors import ChecksumMismatchError, MirrorError, MirrorUnreachableError
from soulsense_db.mirrors.base import Mirror, Outgoing, StoredObject
from soulsense_db.mirrors.directories import (
    MARKER,
    MARKER_TEXT,
    is_partial_of,
    is_partial_of_any,
    is_plain,
    partial_name,
    split_key,
)
from soulsense_db.mirrors.errors import (
    NO_ANSWER,
    bad_url,
    extra_missing,
    full,
    no_object,
    not_prepared,
    place_missing,
    stored_differs,
)
from soulsense_db.mirrors.url import MirrorUrl
from soulsense_db.notices import ignoring, log_ignored

if TYPE_CHECKING:
    from soulsense_db.mirrors.sftp_server import Entry, Server
    from soulsense_db.mirrors.sftp_transfers import Download, Upload
    from soulsense_db.mirrors.ssh_connection import SSHConnection

# As many bytes as may be under way. A server that writes several at a time may leave a gap of that
# size before the end of a file.
_WINDOW = 4 * 1024 * 1024
_DAY = 24 * 60 * 60
_WEEK = 7 * _DAY
# How many connections in a row may break before they bring anything.
_TRIES = 5
# The mark of a small object's file; that of a larger one is a part of its checksum.
_SMALL = "small-"


class SFTPMirror(Mirror):
    """A directory on an SSH server: ``sftp://user@host:port/path``, ``sftp://host/~/below/home``.

    Each object is a file in a folder of the directory, which a marker file says to be the one that
    was set up. Keys, agent, hosts' settings and known hosts are those of the user's other SSH
    programs. A file that was cut off is gone on with: its name has a part of its checksum, so that
    nothing else is taken for its beginning.
    """

    schemes: ClassVar[tuple[str, ...]] = ("sftp",)
    needs_preparing: ClassVar[bool] = True

    def __init__(self, url: MirrorUrl, *, timeout: float = 60.0) -> None:
        super().__init__(url, timeout=timeout)
        if not url.host:
            raise bad_url(str(url), "it names no host")
        if not url.path:
            raise bad_url(str(url), "it names no directory, as in sftp://user@host/path")
        if find_spec("asyncssh") is None:
            raise extra_missing("sftp", "sftp")
        self._place = url.path
        if url.path == "/~" or url.path.startswith("/~/"):
            self._place = f"./{url.path[3:]}".rstrip("/")  # where the server lets a user begin
        self._connection: SSHConnection | None = None

    def prepare(self) -> None:
        """Make the directory, but none above it, and put the marker into it."""
        self._server.run("make the directory", self._prepare)

    def list_objects(self, folder: str | None = None) -> Iterator[StoredObject]:
        """Yield the files of a folder, or of all folders; what else is there is passed by."""
        if folder is not None:
            folders = [folder] if is_plain(folder) else []
            self._server.run("list", self._require_prepared)
        else:
            folders = self._server.run("list", self._folders)
        for name in folders:
            yield from self._server.run("list", partial(self._objects, folder=name))

    def read(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        """Yield the contents of a file."""
        split_key(self.address, key)
        return self._pieces(partial(self._open, key=key, start=start))

    def _pieces(self, begin: Callable[[Server], Coroutine[Any, Any, Download]]) -> Iterator[bytes]:
        server = self._server
        download = server.run("read", begin)
        try:
            while piece := server.run("read", lambda _: download.piece()):
                yield piece
        finally:
            # Whoever stops in the middle may do so where no event loop may be run.
            server.close_later(download.close)

    def write(self, key: str, file: Outgoing) -> None:
        """Store a file under another name, read it back, and give it its name."""
        folder, name = split_key(self.address, key)
        path = self._path(folder, partial_name(name, file.sha256[:16]))
        # What was gone on with may have been damaged before: then once more from the beginning.
        if not (self._send(key, path, file) or self._send(key, path, file)):
            raise stored_differs(self.address, key)
        self._server.run("write", lambda it: it.rename_over(path, self._path(key)))

    def create(self, key: str, data: bytes) -> bool:
        """Store it under another name, and give it its own if that is free."""
        split_key(self.address, key)
        return self._server.run("write", lambda it: self._create(it, key, data))

    def replace(self, key: str, data: bytes) -> None:
        """Store it under another name, and give it its own."""
        split_key(self.address, key)
        self._server.run("write", lambda it: self._replace(it, key, data))

    def delete(self, key: str) -> None:
        """Remove the file, and what was left of storing it."""
        folder, name = split_key(self.address, key)
        self._server.run("delete", lambda it: self._delete(it, folder, name))

    def remove_leftovers(self, folder: str) -> None:
        """Remove unfinished files that nobody has written to for a day, large ones for a week.

        An upload goes on with a large one.
        """
        self._server.run("delete", lambda it: self._remove_leftovers(it, folder))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _server(self) -> SSHConnection:
        if self._connection is None:
            from soulsense_db.mirrors.ssh_connection import SSHConnection

            self._connection = SSHConnection(self.url, self._place, timeout=self.timeout)
        return self._connection

    def _path(self, *names: str) -> str:
        return "/".join([self._place.rstrip("/"), *names])

    # What the server is asked for

    async def _prepare(self, server: Server) -> None:
        above = self._place.rpartition("/")[0]
        if above and await server.status(above) is None:
            reason, hint = (
                f"{above} does not exist there",
                f"Make the directory {above} there first.",
            )
            raise place_missing(self.address, reason, hint)
        await server.make_directory(self._place)
        if not await self._is_prepared(server):
            await server.create(self._path(MARKER), MARKER_TEXT)

    async def _is_prepared(self, server: Server) -> bool:
        marker = await server.status(self._path(MARKER))
        return marker is not None and marker.is_file

    async def _require_prepared(self, server: Server) -> None:
        if not await self._is_prepared(server):
            raise not_prepared(self.address)

    async def _folders(self, server: Server) -> list[str]:
        await self._require_prepared(server)
        found = server.entries(self._place)
        return [one.name async for one in found if one.is_directory and is_plain(one.name)]

    async def _objects(self, server: Server, folder: str) -> list[StoredObject]:
        return [
            StoredObject(
                key=f"{folder}/{one.name}",
                size_bytes=one.size_bytes,
                modified_at=None if one.mtime is None else datetime.fromtimestamp(one.mtime, UTC),
            )
            for one in await self._found_in(server, folder)
            if one.is_file and is_plain(one.name)
        ]

    async def _found_in(self, server: Server, folder: str) -> list[Entry]:
        """Return what is in a folder; nothing where there is none, or a link to elsewhere."""
        status = await server.status(self._path(folder))
        if status is None or not status.is_directory:
            return []
        return [one async for one in server.entries(self._path(folder))]

    async def _open(self, server: Server, key: str, start: int) -> Download:
        await self._require_prepared(server)
        folder = await server.status(self._path(key.partition("/")[0]))
        found = await server.status(self._path(key))
        if folder is None or not folder.is_directory or found is None or not found.is_file:
            raise no_object(self.address, key)
        return await server.download(self._path(key), start=start)

    def _send(self, key: str, path: str, file: Outgoing) -> bool:
        """Send a file to ``path``; return whether it is whole there, and remove it if it is not."""
        server = self._server
        upload, start = server.run("write", lambda it: self._begin(it, key, path, file))
        try:
            # What a caller raises comes out as it is, and what was sent stays for the next call.
            for chunk in file.chunks(start=start):
                server.run("write", partial(_add, upload, chunk))
            server.run("write", lambda _: upload.finish())
            is_whole = self._is_whole(path, file)
        except ChecksumMismatchError:
            self._remove_partial(path)
            raise
        finally:
            server.close_now(upload.close)
        if not is_whole:
            self._remove_partial(path)
        return is_whole

    def _remove_partial(self, path: str) -> None:
        # The next call for that key removes it else.
        with ignoring(MirrorError, what=f"{path} is left over at {self.address}"):
            self._server.run("delete", lambda it: it.remove(path))

    def _is_whole(self, path: str, file: Outgoing) -> bool:
        """Read back what was sent, by several connections as long as each brings more of it."""
        checksum = hashlib.sha256()
        done = in_vain = 0
        while True:
            before = done
            try:
                for piece in self._pieces(partial(_download, path=path, start=done)):
                    checksum.update(piece)
                    done += len(piece)
            except MirrorUnreachableError as error:
                # One that broke may have taken with it what was on its way.
                in_vain = in_vain + 1 if done == before else 0
                if in_vain == _TRIES or (in_vain and error.reason == NO_ANSWER):
                    raise
                log_ignored(f"{path} is read on", error)
            else:
                return done == file.size_bytes and checksum.hexdigest() == file.sha256

    async def _begin(
        self, server: Server, key: str, path: str, file: Outgoing
    ) -> tuple[Upload, int]:
        """Return the writes to a file, and how many bytes of it need not be sent again."""
        folder, name = split_key(self.address, key)
        await self._make_folder(server, folder)
        there = None
        for one in await self._found_in(server, folder):
            if not is_partial_of(name, one.name):
                continue
            is_of_this = self._path(folder, one.name) == path and one.is_file
            if is_of_this and one.size_bytes <= file.size_bytes:
                there = one.size_bytes
            elif _is_leftover(one):
                await server.remove(self._path(folder, one.name))
        free = await server.free_bytes(self._place)
        needed = file.size_bytes - (there or 0)
        if free is not None and free < needed:
            raise full(self.address, f"{needed:,} bytes are needed, {free:,} are free")
        if there is None:
            return await server.upload(path, start=None), 0
        start = there if server.writes_in_order else max(0, there - _WINDOW)
        return await server.upload(path, start=start), start

    async def _make_folder(self, server: Server, folder: str) -> None:
        await self._require_prepared(server)
        await server.make_directory(self._path(folder))

    async def _create(self, server: Server, key: str, data: bytes) -> bool:
        await self._require_prepared(server)
        if await server.status(self._path(key)) is not None:
            return False
        path = await self._send_small(server, key, data)
        return await server.rename_new(path, self._path(key))

    async def _replace(self, server: Server, key: str, data: bytes) -> None:
        path = await self._send_small(server, key, data)
        await server.rename_over(path, self._path(key))

    async def _send_small(self, server: Server, key: str, data: bytes) -> str:
        """Return under which name ``data`` is whole on the server."""
        folder, name = split_key(self.address, key)
        await self._make_folder(server, folder)
        # Another name each time: another machine that stores the same at once has its own.
        path = self._path(folder, partial_name(name, f"{_SMALL}{secrets.token_hex(8)}"))
        if not await server.create(path, data):
            await server.remove(path)
            raise stored_differs(self.address, key)
        return path

    async def _delete(self, server: Server, folder: str, name: str) -> None:
        await self._require_prepared(server)
        for one in await self._found_in(server, folder):
            if one.name == name or (is_partial_of(name, one.name) and _is_leftover(one)):
                await server.remove(self._path(folder, one.name))

    async def _remove_leftovers(self, server: Server, folder: str) -> None:
        await self._require_prepared(server)
        for one in await self._found_in(server, folder):
            is_small = f".{_SMALL}" in one.name
            name = one.name.replace(f".{_SMALL}", ".") if is_small else one.name
            if not one.is_file or one.mtime is None or not is_partial_of_any(name):
                continue
            if one.mtime < time.time() - (_DAY if is_small else _WEEK):
                await server.remove(self._path(folder, one.name))


async def _download(server: Server, path: str, start: int) -> Download:
    return await server.download(path, start=start)


async def _add(upload: Upload, chunk: bytes, _: Server) -> None:
    await upload.add(chunk)


def _is_leftover(entry: Entry) -> bool:
    """Whether nobody is writing to it: that of a small object is gone in a moment, or left over.

    That of a large one may be in use by another machine that stores the same key: the last one of
    them stores it, the others are told that theirs is gone.
    """
    if f".{_SMALL}" not in entry.name:
        return True
    return entry.mtime is not None and entry.mtime < time.time() - _DAY
