"""Mirrors in object stores: S3 and what speaks its language, Google Cloud Storage, Azure."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal, NoReturn

from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    MirrorError,
    MirrorUnreachableError,
)
from soulsense_db.mirrors.base import CHUNK, Mirror, Outgoing, StoredObject
from soulsense_db.mirrors.errors import (
    bad_url,
    extra_missing,
    failed,
    forked,
    stored_differs,
)
from soulsense_db.mirrors.object_parts import Parts
from soulsense_db.mirrors.object_store_config import StoreMaker
from soulsense_db.mirrors.object_store_errors import (
    Said,
    odd_key,
    replaced_meanwhile,
    said,
    translated,
)
from soulsense_db.mirrors.object_upload import Upload
from soulsense_db.mirrors.url import MirrorUrl
from soulsense_db.notices import log_event, warn

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutResult

    from soulsense_db.mirrors.object_store_config import Store


# A part may take this long on the slowest line that is worth waiting for. A server that says that
# it is alive, and never answers to a part, is waited for as long.
_SLOWEST = 1000  # bytes in a second
_PAGE = 1000
# The threads of the library do not follow into a forked process: there each call hangs for ever.
_first_used_in: dict[str, int] = {}
_CONFLICTS = 5
_MD5 = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")


class ObjectStoreMirror(Mirror):
    """A bucket, or what is below a prefix in it. The contract is :class:`Mirror`'s.

    What is stored replaces the object with that key at once, when it is whole: these stores have
    no names for a time and no renaming, and need none. An upload that was cut off is not seen; the
    store removes its parts by a rule of the bucket.
    """

    schemes: ClassVar[tuple[str, ...]] = ("s3", "gs", "az")
    needs_preparing: ClassVar[bool] = False

    def __init__(self, url: MirrorUrl, *, timeout: float = 60.0) -> None:
        super().__init__(url, timeout=timeout)
        self._prefix = url.path.strip("/")
        if not url.host:
            raise bad_url(str(url), "it does not say which bucket")
        if url.user is not None or url.port is not None:
            raise bad_url(str(url), "a bucket has no user and no port")
        if any(part in ("", ".") for part in self._prefix.split("/")) and self._prefix:
            raise bad_url(str(url), "its path has '//' or '/./' in it")
        try:
            import obstore  # noqa: F401 (whether it is there)
        except ImportError:
            raise extra_missing(url.scheme, "object-store") from None
        self._maker = StoreMaker(url, timeout)
        self._opened: dict[float, Store] = {}
        self._is_slow = False

    def prepare(self) -> None:
        """Do nothing: a bucket is made by its owner, and cannot be taken for another."""

    def list_objects(self, folder: str | None = None) -> Iterator[StoredObject]:
        """Yield the objects of ``folder``, or of all folders."""
        import obstore

        last = ""
        try:
            for found in self._pages(folder):
                last = found.key
                yield found
        except obstore.exceptions.InvalidPathError:
            # Somebody's key that the library does not take. Folder by folder there is none of them,
            # as long as it is in another one.
            log_event(logging.DEBUG, f"an odd key at {self.address}: listed folder by folder")
        else:
            return
        for name in [folder] if folder is not None else self._folders():
            try:
                found_there = self._directly_in(name)
            except MirrorError as error:
                if folder is not None or error.reason != "odd key":
                    raise
                warn(str(error))
                continue
            yield from (found for found in found_there if found.key > last)

    def read(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        """Yield the contents of an object from the byte ``start`` on."""
        import obstore

        name = self._name(key)
        store = self._store()
        try:
            options: obstore.GetOptions | None = {"range": {"offset": start}} if start else None
            pieces = iter(obstore.get(store, name, options=options).stream(min_chunk_size=CHUNK))
        except _library_errors() as error:
            if said(error).status == 416:  # nothing is behind its end
                return
            self._fail(error, "read", key)
        while True:
            try:
                piece = next(pieces, None)
            except _library_errors() as error:
                self._fail(error, "read", key)
            if piece is None:
                return
            yield bytes(piece)

    def write(self, key: str, file: Outgoing) -> None:
        """Store a file; an object with that key is replaced."""
        parts, stored = self._sent(key, file)
        here = self._head(key)
        if here["size"] == file.size_bytes:
            if _md5_of(here) == parts.md5():
                return
            # Encrypted by a key of its own, or no MD5 in this store.
            text = f"{key} at {self.address} is read back: the store has no MD5 of it"
            log_event(logging.DEBUG, text)
            checksum = hashlib.sha256()
            for piece in self.read(key):
                checksum.update(piece)
            if checksum.hexdigest() == file.sha256:
                return
        if stored["e_tag"] is not None and stored["e_tag"] != here["e_tag"]:
            raise replaced_meanwhile(self.address, key)  # not ours to remove
        self.delete(key)
        raise stored_differs(self.address, key)

    def create(self, key: str, data: bytes) -> bool:
        """Store a small object unless there is one with that key; return whether it was stored."""
        import obstore

        for attempt in range(_CONFLICTS):
            try:
                self._put(key, data, "create")
            except obstore.exceptions.AlreadyExistsError as error:
                # Others are at it in the same moment, and perhaps all of them are told so.
                if said(error).code != "ConditionalRequestConflict":
                    return False
                log_event(logging.DEBUG, f"{key} at {self.address}: somebody else creates it")
                time.sleep(0.1 * 2**attempt)
            else:
                return True
        raise failed(self.address, "ConditionalRequestConflict")

    def replace(self, key: str, data: bytes) -> None:
        """Store a small object in the place of that key's, if there is one."""
        self._put(key, data, "overwrite")

    def delete(self, key: str) -> None:
        """Remove an object. One that is not there is no error."""
        import obstore

        try:
            obstore.delete(self._store(), self._name(key))
        except _library_errors() as error:
            try:
                self._fail(error, "delete", key)
            except BackupNotFoundError:
                log_event(logging.DEBUG, f"{key} was not at {self.address}")

    def close(self) -> None:
        """Close connections."""
        self._opened.clear()

    def _store(self, seconds: float | None = None) -> Store:
        wait = self.timeout if seconds is None else seconds
        if _first_used_in.setdefault("process", os.getpid()) != os.getpid():
            raise forked(self.address)
        if wait not in self._opened:
            self._opened[wait] = self._maker.store(wait)
        return self._opened[wait]

    def _name(self, key: str) -> str:
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise failed(self.address, f"{key!r} is not a folder and a name")
        return f"{self._prefix}/{key}" if self._prefix else key

    def _fail(self, error: BaseException, action: str, key: str = "") -> NoReturn:
        what = said(error)
        log_event(logging.DEBUG, f"{action} {key} at {self.address}: {what}")
        raise translated(
            error, self.url, action, key=key, timeout=self.timeout, region=self._maker.region
        ) from None

    # Listing

    def _pages(self, folder: str | None) -> Iterator[StoredObject]:
        import obstore

        prefix = self._name(folder) if folder is not None else self._prefix
        pages = obstore.list(self._store(), prefix or None, chunk_size=_PAGE)
        while True:
            try:
                page = next(pages, None)
            except obstore.exceptions.InvalidPathError:
                raise
            except _library_errors() as error:
                self._fail(error, "list")
            if page is None:
                return
            yield from map(self._stored, page)

    def _folders(self) -> list[str]:
        import obstore

        try:
            found = obstore.list_with_delimiter(self._store(), self._prefix or None)
        except obstore.exceptions.InvalidPathError:
            raise odd_key(self.address, "It") from None
        except _library_errors() as error:
            self._fail(error, "list")
        return [path[self._skipped :].rstrip("/") for path in found["common_prefixes"]]

    def _directly_in(self, folder: str) -> list[StoredObject]:
        import obstore

        try:
            found = obstore.list_with_delimiter(self._store(), self._name(folder))
        except obstore.exceptions.InvalidPathError:
            raise odd_key(self.address, folder) from None
        except _library_errors() as error:
            self._fail(error, "list")
        return [self._stored(one) for one in found["objects"]]

    @property
    def _skipped(self) -> int:
        return len(self._prefix) + 1 if self._prefix else 0

    def _stored(self, found: ObjectMeta) -> StoredObject:
        return StoredObject(
            key=found["path"][self._skipped :],
            size_bytes=found["size"],
            modified_at=found["last_modified"],
        )

    # Uploading

    def _put(self, key: str, data: bytes, mode: Literal["create", "overwrite"]) -> None:
        import obstore

        name = self._name(key)
        while True:
            try:
                obstore.put(self._store(), name, data, mode=mode, use_multipart=False)
                return
            except obstore.exceptions.AlreadyExistsError:
                raise
            except _library_errors() as error:
                if not self._goes_without_checksums(error):
                    self._fail(error, "write", key)

    def _goes_without_checksums(self, error: BaseException) -> bool:
        """Return whether it is worth another try: the store may not know the checksums."""
        if said(error).code != "NotImplemented" or not self._maker.sends_checksums:
            return False
        log_event(logging.DEBUG, f"{self.address} takes no checksums")
        self._maker.sends_checksums = False
        self._opened.clear()
        return True

    def _head(self, key: str) -> ObjectMeta:
        import obstore

        try:
            return obstore.head(self._store(), self._name(key))
        except _library_errors() as error:
            self._fail(error, "read", key)

    def _sent(self, key: str, file: Outgoing) -> tuple[Parts, PutResult]:
        """Upload it; once more, and patiently, where the line is slow."""
        while True:
            parts = Parts(file)
            try:
                return parts, self._send(self._name(key), parts)
            except _library_errors() as error:
                if parts.error is not None:  # also where the upload could not be aborted then
                    raise parts.error from None
                what = said(error)
                if self._goes_without_checksums(error):
                    continue
                if what.is_timeout and not self._is_slow and self._is_alive(what):
                    text = f"the line to {self.address} is slow: uploaded patiently"
                    log_event(logging.DEBUG, text)
                    self._is_slow = True
                    continue
                self._fail(error, "write", key)

    def _send(self, name: str, parts: Parts) -> PutResult:
        """Upload it. On a slow line part by part: each of them may take long, the store may not."""
        import obstore

        patient = self._is_slow
        store = self._store(self.timeout + parts.size / _SLOWEST if patient else None)

        def put(pieces: Iterator[bytes]) -> PutResult:
            if parts.is_single:
                return obstore.put(store, name, b"".join(pieces), use_multipart=False)
            return obstore.put(
                store,
                name,
                pieces,
                use_multipart=True,
                chunk_size=parts.size,
                max_concurrency=1 if patient else parts.at_once,
            )

        return Upload(put, parts, self.timeout, self._check_alive if patient else None).run()

    def _is_alive(self, what: Said) -> bool:
        """Return whether a store that did not take a part in time answers to something small."""
        if what.while_aborting:
            return False
        try:
            self._check_alive()
        except MirrorUnreachableError as error:
            log_event(logging.DEBUG, str(error))
            return False
        return True

    def _check_alive(self) -> None:
        import obstore

        try:
            obstore.head(self._store(), self._name("probe"))
        except _library_errors() as error:
            try:
                self._fail(error, "read", "probe")
            except MirrorUnreachableError:
                raise
            except BackupError as said_something:
                log_event(logging.DEBUG, f"it is there: {said_something}")


def _md5_of(stored: ObjectMeta) -> str | None:
    tag = (stored["e_tag"] or "").strip('"')
    return tag if _MD5.fullmatch(tag) else None


def _library_errors() -> tuple[type[Exception], ...]:
    from obstore.exceptions import BaseError

    return (BaseError, OSError, ValueError, NotImplementedError)
