"""What the author of a kind of mirror tells the suite."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest

from soulsense_db.mirrors import Mirror, MirrorUrl, Outgoing

MB = 1024 * 1024
FOLDER = "laptop"
KEY = f"{FOLDER}/app.db"

T = TypeVar("T")


class MirrorHooks:
    """What is to be implemented, and what may be: :meth:`make_mirror` is enough for many."""

    supports_resume: ClassVar[bool] = False
    """Whether a :meth:`~soulsense_db.mirrors.Mirror.write` goes on where one was cut off."""

    compares_contents: ClassVar[bool] = True
    """Whether what is stored is compared with the checksum of the file itself.

    False where the store's own checksum is compared with what was handed on to it.
    """

    bad_urls: ClassVar[tuple[str, ...]] = ()
    """URLs that this kind of mirror must refuse."""

    many: ClassVar[int] = 60
    """How many objects are more than one answer of the place lists, if that is affordable."""

    large_bytes: ClassVar[int] = 96 * MB
    """Size of a file that no mirror may hold in memory."""

    def make_mirror(self) -> Mirror:
        """Return a mirror at a new place: set up, and empty."""
        raise NotImplementedError

    def client(self, mirror: Mirror) -> Mirror:
        """Return another mirror object on the same place, as another program has it."""
        return type(mirror)(mirror.url, timeout=mirror.timeout)

    def missing(self, mirror: Mirror) -> Mirror:
        """Return a mirror at a place that is not there; by default a longer path than another's.

        To be overridden where any path is a place.
        """
        return type(mirror)(MirrorUrl.of(f"{mirror.address}/missing"), timeout=mirror.timeout)

    def unprepared(self, mirror: Mirror) -> Mirror:
        """Return a mirror at a place that is there, and not set up.

        Asked only of a kind that ``needs_preparing``. ``mirror`` is one that is set up.
        """
        raise NotImplementedError

    def leftovers(self, mirror: Mirror) -> list[str] | None:
        """Return what is at the place and is no object, nor of its setting up; None: unknown."""
        return None

    # Fixtures

    @pytest.fixture
    def mirror(self) -> Iterator[Mirror]:
        """Return a mirror at a new place."""
        with self.make_mirror() as made:
            yield made

    @pytest.fixture
    def other(self, mirror: Mirror) -> Iterator[Mirror]:
        """Return another mirror object on the same place."""
        with self.client(mirror) as made:
            yield made

    def needs_setting_up(self, mirror: Mirror) -> None:
        """Skip a test that is about setting a place up, where there is nothing to set up."""
        if not mirror.needs_preparing:
            pytest.skip(f"{type(mirror).__name__}.needs_preparing is False")

    def needs_resume(self) -> None:
        """Skip a test that is about going on, where a file is sent anew."""
        if not self.supports_resume:
            pytest.skip(f"{type(self).__name__}.supports_resume is False")


class CancelledError(Exception):
    """What a caller raises to cancel."""


class Lying(Outgoing):
    """A file that hands on something else than what it says, as a bad network or memory does."""

    def chunks(self, size: int = MB, *, start: int = 0) -> Iterator[bytes]:
        """Yield other bytes."""
        data = self.damage(self.path.read_bytes())
        for offset in range(start, len(data), size):
            yield data[offset : offset + size]
            self.told(min(len(data), offset + size))

    def damage(self, data: bytes) -> bytes:
        """Return what is handed on."""
        raise NotImplementedError


class OtherBytes(Lying):
    """As many bytes, one of which differs."""

    def damage(self, data: bytes) -> bytes:
        """Return what is handed on."""
        return data[:-1] + bytes([data[-1] ^ 1])


class FewerBytes(Lying):
    """The last byte is missing."""

    def damage(self, data: bytes) -> bytes:
        """Return what is handed on."""
        return data[:-1]


def tell_nobody(done_bytes: int) -> None:
    """Take no notice."""


def outgoing(
    folder: Path,
    data: bytes,
    *,
    kind: type[Outgoing] = Outgoing,
    told: Callable[[int], None] = tell_nobody,
) -> Outgoing:
    """Return a file with these contents, to be stored."""
    checksum = hashlib.sha256(data).hexdigest()
    path = folder / f"{checksum[:16]}.db"
    path.write_bytes(data)
    return kind(path=path, size_bytes=len(data), sha256=checksum, told=told)


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Return bytes that nothing compresses."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - not a secret


def contents(mirror: Mirror, key: str = KEY, *, start: int = 0) -> bytes:
    """Return what is stored under ``key``."""
    return b"".join(mirror.read(key, start=start))


def holds(mirror: Mirror, data: bytes) -> bool:
    """Whether ``data`` is stored: pytest would work for minutes to show how megabytes differ."""
    return contents(mirror) == data


def keys(mirror: Mirror, folder: str | None = None) -> list[str]:
    """Return the keys that are listed, sorted."""
    return sorted(found.key for found in mirror.list_objects(folder))


def in_thread(work: Callable[[], T]) -> T:
    """Return what ``work`` returns in a thread of its own, as that of another program would be."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
