"""What a mirror has to do.

A mirror keeps objects at one place off this machine: bytes under a key, which is
``<folder>/<name>``. It knows nothing of what is in them. To add a kind of mirror, write a
:class:`Mirror`, name it in an entry point (:mod:`~soulsense_db.mirrors.registry`), and run the
shared suite over it: :class:`soulsense_db.testing.MirrorSuite`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, ClassVar, Self

from soulsense_db import fs
from soulsense_db.meta_file import not_found
from soulsense_db.mirrors.errors import changed_locally
from soulsense_db.mirrors.url import MirrorUrl

CHUNK = 1024 * 1024
"""About how many bytes are handed on at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object at a mirror.

    Attributes:
        key: ``<folder>/<name>``.
        size_bytes: How many bytes it has.
        modified_at: When it was stored, aware; None where the place does not say.

    Example:
        >>> StoredObject(key="laptop/app.db", size_bytes=8192).folder
        'laptop'
    """

    key: str
    size_bytes: int
    modified_at: datetime | None = None

    @property
    def folder(self) -> str:
        """What comes before the name."""
        return self.key.rpartition("/")[0]

    @property
    def name(self) -> str:
        """What comes after the folder."""
        return self.key.rpartition("/")[2]


def _tell_nobody(done_bytes: int) -> None:
    """Take no notice of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A local file that is to be stored at a mirror.

    Attributes:
        path: The file.
        size_bytes: How many bytes it has.
        sha256: Its checksum, 64 hexadecimal digits.
        told: Called with the number of bytes handed on so far; what it raises cancels.

    Example:
        >>> from hashlib import sha256
        >>> from pathlib import Path
        >>> size = Path("app.db").write_bytes(b"data")
        >>> checksum = sha256(b"data").hexdigest()
        >>> file = Outgoing(path=Path("app.db"), size_bytes=size, sha256=checksum)
        >>> b"".join(file.chunks())
        b'data'
    """

    path: Path
    size_bytes: int
    sha256: str
    told: Callable[[int], None] = field(default=_tell_nobody, repr=False)

    def chunks(self, size: int = CHUNK, *, start: int = 0) -> Iterator[bytes]:
        """Yield the contents, in pieces of ``size`` bytes and a last one.

        At the end, but before the last piece, the checksum is compared: nobody stores a file as
        whole that is not what it was. Call it again to begin anew.

        Args:
            size: Bytes of a piece.
            start: How many bytes at the beginning are left out, for one who has stored them before.

        Raises:
            ChecksumMismatchError: The file is not what it was.
            BackupNotFoundError: The file is gone.
            StorageError: It cannot be read.

        Example:
            >>> list(file.chunks(2, start=1))
            [b'at', b'a']
        """
        checksum = hashlib.sha256()
        done = 0
        pending = b""
        with self._opened() as source:
            while done < start and (skipped := self._read(source, min(CHUNK, start - done))):
                checksum.update(skipped)
                done += len(skipped)
            while piece := self._read(source, size):
                checksum.update(piece)
                done += len(piece)
                if pending:
                    yield pending
                    self.told(done - len(piece))
                pending = piece
        if done != self.size_bytes or checksum.hexdigest() != self.sha256:
            raise changed_locally(self.path)
        if pending:
            yield pending
        self.told(done)

    def _opened(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except FileNotFoundError:  # deleted or pruned meanwhile
            raise not_found(self.path) from None
        except OSError as error:
            raise fs.as_storage_error(error, "read", self.path) from error

    def _read(self, source: BinaryIO, size: int) -> bytes:
        """Read a piece; what ``told`` raises, or who stores it, is no error of this file."""
        with fs.storage_errors("read", self.path):
            return source.read(size)


class Mirror(ABC):
    """One place off this machine.

    Each method may take as long as the network does, and is called in one thread in which no event
    loop runs. What goes wrong is an error of the tree, without secrets:

    - :class:`~soulsense_db.errors.MirrorUnreachableError`: not reached, too slow, cut off; a later
      try may work.
    - :class:`~soulsense_db.errors.MirrorDeniedError`: credentials or a right are missing.
    - :class:`~soulsense_db.errors.MirrorNotFoundError`: the place itself is not there.
    - :class:`~soulsense_db.errors.MirrorFullError`: no space.
    - :class:`~soulsense_db.errors.MirrorError`: anything else.

    Args:
        url: Where it is. The constructor MUST NOT touch the network or a disk; it MUST raise
            :class:`~soulsense_db.errors.OptionError` for a URL that cannot be one of this kind.
        timeout: Seconds without any progress after which a connection counts as broken. An object
            MUST NOT wait for longer.

    Example:
        >>> with mirror_for("file:///mnt/usb/soulsense") as mirror:
        ...     mirror.address
        'file:///mnt/usb/soulsense'
    """

    schemes: ClassVar[tuple[str, ...]] = ()
    """The beginnings of the URLs of this kind."""
    needs_preparing: ClassVar[bool] = False
    """Whether :meth:`prepare` has to be called, once, before anything can be stored.

    So it is for a place that can be taken for another: a directory that is empty because a drive is
    not mounted.
    """

    def __init__(self, url: MirrorUrl, *, timeout: float = 60.0) -> None:
        self.url = url
        self.timeout = timeout

    @property
    def address(self) -> str:
        """The URL, without secrets."""
        return str(self.url)

    @abstractmethod
    def prepare(self) -> None:
        """Make the place ready, if this kind of mirror needs that. Doing it again MUST be harmless.

        Raises:
            MirrorError: It cannot be made ready.
        """

    @abstractmethod
    def list_objects(self, folder: str | None = None) -> Iterator[StoredObject]:
        """Yield the objects of ``folder``, or of all folders, in any order.

        It MUST NOT yield an object that is not whole, nor one that has been deleted before. It MAY
        yield objects of others, under keys of any shape. It MUST raise
        :class:`~soulsense_db.errors.MirrorNotFoundError` where the place is not there, or is not
        prepared and has to be; a folder without objects is empty.
        """

    @abstractmethod
    def read(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        """Yield the contents of an object from the byte ``start`` on, a few MB at a time at most.

        Raises:
            BackupNotFoundError: There is no such object.
            MirrorUnreachableError: Also in the middle: the caller goes on from where it was.
        """

    @abstractmethod
    def write(self, key: str, file: Outgoing) -> None:
        """Store a file; an object with that key is replaced.

        Until it is whole, the object MUST NOT be seen under its key: whoever lists or reads sees
        what was there before. At return it MUST be whole and, as far as the protocol can, on disk;
        its size and checksum MUST have been compared with those of ``file``: with the store's own
        checksum, or by reading it back. It MUST take a few tens of MB of memory at most, however
        large the file is. After an error nothing of it may be left under the key; what is left
        elsewhere MUST be used, or removed, by the next call for this key. Where the protocol can,
        that one goes on where this one was cut off.

        Raises:
            BackupError: As :meth:`Outgoing.chunks`.
            ChecksumMismatchError: What was stored is not what was sent.
        """

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Store a small object unless there is one with that key; return whether it was stored.

        Of several machines that do so at once, one at most MUST be told True. As with
        :meth:`write`, nobody sees a part of it.
        """

    @abstractmethod
    def replace(self, key: str, data: bytes) -> None:
        """Store a small object in the place of that key's, if there is one.

        Whoever reads meanwhile MUST see the old one or the new one, whole.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object. One that is not there is no error.

        Raises:
            MirrorDeniedError: The credentials may not delete, as at an append-only mirror.
        """

    def remove_leftovers(self, folder: str) -> None:  # noqa: B027 (most have nothing to do)
        """Remove what programs left over in ``folder`` that died while they stored something.

        It is called now and then, for keys that nobody stores again. What another program stores
        at this moment MUST stay. By default nothing is done, which is right where nothing can be
        left over, or nobody can tell whose it is.

        Raises:
            MirrorDeniedError: The credentials may not delete, as at an append-only mirror.
        """

    @abstractmethod
    def close(self) -> None:
        """Close connections. Nothing is called afterwards."""

    def __enter__(self) -> Self:
        """Return the mirror."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()
