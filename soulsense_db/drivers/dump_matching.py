"""Match the rows of two dumps of a table, whatever their number, in little memory.

Rows that are the same on both sides, at nearly the same place, are forgotten at once. The others
are kept, in a file once they are many, and sorted by a checksum of what they are matched by.
"""

from __future__ import annotations

import hashlib
import heapq
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from soulsense_db import fs
from soulsense_db.drivers.dump_rows import DumpedRow

_DIGEST = 16
_NUMBER = 8
_RECORD = 2 * _DIGEST + 2 * _NUMBER
_IN_MEMORY = 4 * 1024 * 1024
_WRITTEN_AT_ONCE = 256 * 1024
_RECORDS_OF_A_RUN = 50_000
_READ_AT_ONCE = 256 * _RECORD
_MOST_WAITING = 1000
_MOST_WAITING_BYTES = 4 * 1024 * 1024


class Line(NamedTuple):
    """A row; ``comparable``: what is equal for equal rows, ``keyed``: what has ``key``."""

    text: bytes
    comparable: bytes
    keyed: DumpedRow | bytes

    @property
    def digest(self) -> bytes:
        """A checksum of what is equal for equal rows."""
        return _digest_of(self.comparable)

    @property
    def key(self) -> bytes:
        """A checksum of what it is matched by; asked of few rows."""
        return _digest_of(self.keyed if isinstance(self.keyed, bytes) else self.keyed.key)


def _digest_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


class Record(NamedTuple):
    """Where a row was kept; ``key`` and ``value`` are checksums."""

    key: bytes
    value: bytes
    begin: int
    length: int


class KeptRows:
    """Rows of one side that are not matched yet; ``folder``: where they are, if they are many."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = ExitStack()
        self._lines, self._runs = (
            self._files.enter_context(
                tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder))  # noqa: SIM115
            )
            for _ in range(2)
        )
        self._lengths: list[int] = []
        self._records: list[bytes] = []
        self._unwritten: list[bytes] = []
        self._end = self._unwritten_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget all rows."""
        self._files.close()
        self._records, self._unwritten = [], []

    def add(self, text: bytes, key: bytes, value: bytes) -> None:
        """Keep a row under these checksums."""
        place = self._end.to_bytes(_NUMBER, "big") + len(text).to_bytes(_NUMBER, "big")
        self._records.append(key + value + place)
        self._end += len(text)
        self._unwritten.append(text)
        self._unwritten_bytes += len(text)
        if self._unwritten_bytes >= _WRITTEN_AT_ONCE:
            self._write()
        if len(self._records) >= _RECORDS_OF_A_RUN:
            self._records.sort()
            with fs.storage_errors("write a temporary file in", self._folder):
                self._runs.write(b"".join(self._records))
            self._lengths.append(len(self._records))
            self._records = []

    def _write(self) -> None:
        with fs.storage_errors("write a temporary file in", self._folder):
            if self._unwritten_bytes > _IN_MEMORY:
                self._lines.rollover()  # before it is in memory
            self._lines.write(b"".join(self._unwritten))
        self._unwritten, self._unwritten_bytes = [], 0

    def sorted(self) -> Iterator[Record]:
        """Yield where the rows are, sorted by their keys; no more rows can be added."""
        self._write()
        self._records.sort()
        runs = [iter(self._records)]
        begin = 0
        for length in self._lengths:
            runs.append(self._run(begin, length))
            begin += length
        found = runs[0] if len(runs) == 1 else heapq.merge(*runs)
        for record in found:
            yield Record(
                record[:_DIGEST],
                record[_DIGEST : 2 * _DIGEST],
                int.from_bytes(record[2 * _DIGEST : -_NUMBER], "big"),
                int.from_bytes(record[-_NUMBER:], "big"),
            )

    def _run(self, first: int, length: int) -> Iterator[bytes]:
        begin, end = first * _RECORD, (first + length) * _RECORD
        while begin < end:
            self._runs.seek(begin)
            block = self._runs.read(min(_READ_AT_ONCE, end - begin))
            begin += len(block)
            for at in range(0, len(block), _RECORD):
                yield block[at : at + _RECORD]

    def text(self, record: Record) -> bytes:
        """Return a row that was kept."""
        self._lines.seek(record.begin)
        return self._lines.read(record.length)


class _Waiting:
    """The last rows of one side that the other one has not had yet."""

    def __init__(self, kept: KeptRows) -> None:
        self._kept = kept
        self._lines: dict[bytes, list[Line]] = {}
        self._number = self._bytes = 0

    def pop(self, digest: bytes) -> bool:
        """Forget a row that is the same, if there is one."""
        lines = self._lines.get(digest)
        if not lines:
            return False
        self._forget(digest, lines)
        return True

    def _forget(self, digest: bytes, lines: list[Line]) -> Line:
        line = lines.pop()
        if not lines:
            del self._lines[digest]
        self._number -= 1
        self._bytes -= len(line.text)
        return line

    def add(self, digest: bytes, line: Line) -> None:
        """Let a row wait; those that wait longest are kept."""
        self._lines.setdefault(digest, []).append(line)
        self._number += 1
        self._bytes += len(line.text)
        while self._number > _MOST_WAITING or self._bytes > _MOST_WAITING_BYTES:
            self._keep_first()

    def keep_all(self) -> None:
        """Keep what still waits."""
        while self._number:
            self._keep_first()

    def _keep_first(self) -> None:
        digest, lines = next(iter(self._lines.items()))
        line = self._forget(digest, lines)
        self._kept.add(line.text, line.key, digest)


def keep_differing(
    first: Iterator[Line], second: Iterator[Line], kept: tuple[KeptRows, KeptRows]
) -> None:
    """Keep the rows that are not the same on both sides, and few that are."""
    waiting = _Waiting(kept[0]), _Waiting(kept[1])
    ends: set[int] = set()
    sides = first, second
    while len(ends) < len(sides):
        lines = [None if at in ends else next(side, None) for at, side in enumerate(sides)]
        ends |= {at for at, line in enumerate(lines) if line is None}
        one, other = lines
        if one is not None and other is not None and one.comparable == other.comparable:
            continue
        for at, line in enumerate(lines):
            if line is None:
                continue
            digest = line.digest
            if not waiting[1 - at].pop(digest):
                waiting[at].add(digest, line)
    for one_side in waiting:
        one_side.keep_all()


def matched(first: KeptRows, second: KeptRows) -> Iterator[tuple[Record | None, Record | None]]:
    """Yield the rows that differ: in both, only in the first, only in the second."""
    before, after = first.sorted(), second.sorted()
    one, other = next(before, None), next(after, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.key < other.key):
            yield one, None
            one = next(before, None)
        elif one is None or other.key < one.key:
            yield None, other
            other = next(after, None)
        else:
            if one.value != other.value:
                yield one, other
            one, other = next(before, None), next(after, None)
