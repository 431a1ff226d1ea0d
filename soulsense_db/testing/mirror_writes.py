"""What a mirror promises of files: stored whole or not at all, and read back from any byte."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path

import pytest

from soulsense_db.errors import BackupError, BackupNotFoundError, ChecksumMismatchError
from soulsense_db.mirrors import Mirror, Outgoing
from soulsense_db.testing.mirror_hooks import (
    FOLDER,
    KEY,
    MB,
    CancelledError,
    FewerBytes,
    MirrorHooks,
    OtherBytes,
    contents,
    holds,
    in_thread,
    keys,
    outgoing,
    some_bytes,
)

_OLD = b"the old one"
_MOST_AT_ONCE = 8 * MB


class WritePromises(MirrorHooks):
    """A file is stored whole or not at all."""

    @pytest.mark.parametrize("size", [0, 1, MB - 1, MB, MB + 1, 5 * MB + 7])
    def test_a_file_comes_back(
        self, mirror: Mirror, other: Mirror, tmp_path: Path, size: int
    ) -> None:
        """What was stored is read by another program, byte for byte, whatever its size."""
        data = some_bytes(size)
        done: list[int] = []
        mirror.write(KEY, outgoing(tmp_path, data, told=done.append))
        assert holds(other, data)
        assert [(found.key, found.size_bytes) for found in other.list_objects()] == [(KEY, size)]
        assert self.leftovers(mirror) in (None, [])
        assert done == sorted(done)
        assert done[-1] == size

    def test_it_is_read_from_any_byte_on(self, mirror: Mirror, tmp_path: Path) -> None:
        """A download that was cut off goes on where it was; pieces are a few MB at most."""
        data = some_bytes(3 * MB + 5)
        mirror.write(KEY, outgoing(tmp_path, data))
        for start in (0, 1, MB, len(data) - 1, len(data)):
            pieces = list(mirror.read(KEY, start=start))
            is_the_rest = b"".join(pieces) == data[start:]
            assert is_the_rest
            assert all(0 < len(piece) <= _MOST_AT_ONCE for piece in pieces)

    def test_who_stops_reading_leaves_nothing_behind(self, mirror: Mirror, tmp_path: Path) -> None:
        """A download that nobody wants any more is in nobody's way."""
        data = some_bytes(20 * MB)
        mirror.write(KEY, outgoing(tmp_path, data))
        for _ in range(3):
            reading = mirror.read(KEY)
            next(reading)
            del reading
            assert keys(mirror) == [KEY]
        assert holds(mirror, data)

    def test_an_object_that_is_missing_is_said_so(self, mirror: Mirror) -> None:
        """Neither a folder nor an object that is not there is an empty one."""
        with pytest.raises(BackupNotFoundError):
            contents(mirror)
        mirror.replace(f"{FOLDER}/another.db", b"data")
        with pytest.raises(BackupNotFoundError):
            contents(mirror)

    @pytest.mark.parametrize("size", [3, 6 * MB])
    def test_a_file_replaces_the_one_before(
        self, mirror: Mirror, tmp_path: Path, size: int
    ) -> None:
        """Nothing of a longer or a shorter one stays."""
        mirror.write(KEY, outgoing(tmp_path, some_bytes(3 * MB, seed=1)))
        data = some_bytes(size, seed=2)
        mirror.write(KEY, outgoing(tmp_path, data))
        assert holds(mirror, data)

    @pytest.mark.parametrize("is_replaced", [False, True], ids=["new", "replaced"])
    def test_nobody_sees_a_part_of_it(
        self, mirror: Mirror, other: Mirror, tmp_path: Path, is_replaced: bool
    ) -> None:
        """While a file is stored, others list and read what was there before."""
        if is_replaced:
            mirror.replace(KEY, _OLD)
        seen: list[bytes | None] = []
        data = some_bytes(12 * MB)

        def see() -> bytes | None:
            with self.client(mirror) as client:  # in the one thread that it is used in
                return contents(client) if keys(client) else None

        def look(done_bytes: int) -> None:
            if done_bytes < len(data):
                seen.append(in_thread(see))

        mirror.write(KEY, outgoing(tmp_path, data, told=look))
        assert len(seen) > 3
        assert all(data == (_OLD if is_replaced else None) for data in seen)
        assert holds(other, data)

    @pytest.mark.parametrize("is_replaced", [False, True], ids=["new", "replaced"])
    @pytest.mark.parametrize("after", [1, 7 * MB])
    def test_a_cancelled_one_is_not_there(
        self, mirror: Mirror, tmp_path: Path, is_replaced: bool, after: int
    ) -> None:
        """What the caller raises comes out as it is, and what was there before is there."""
        if is_replaced:
            mirror.replace(KEY, _OLD)
        data = some_bytes(12 * MB)
        with pytest.raises(CancelledError):
            mirror.write(KEY, outgoing(tmp_path, data, told=_cancel_after(after)))
        with self.client(mirror) as other:
            assert [contents(other, key) for key in keys(other)] == [_OLD] * is_replaced
        mirror.write(KEY, outgoing(tmp_path, data))
        assert holds(mirror, data)
        assert self.leftovers(mirror) in (None, [])

    def test_what_is_left_of_another_file_is_removed(self, mirror: Mirror, tmp_path: Path) -> None:
        """What a cancelled write left over is no part of the file that is stored instead."""
        first = outgoing(tmp_path, some_bytes(12 * MB, seed=1), told=_cancel_after(7 * MB))
        with pytest.raises(CancelledError):
            mirror.write(KEY, first)
        data = some_bytes(9 * MB, seed=2)
        mirror.write(KEY, outgoing(tmp_path, data))
        assert holds(mirror, data)
        assert self.leftovers(mirror) in (None, [])

    def test_it_goes_on_where_it_was_cut_off(self, mirror: Mirror, tmp_path: Path) -> None:
        """What the place has of a file is not sent again, by another program either."""
        self.needs_resume()
        data = some_bytes(64 * MB)
        with pytest.raises(CancelledError), self.client(mirror) as first:
            first.write(KEY, outgoing(tmp_path, data, told=_cancel_after(48 * MB)))
        done: list[int] = []
        mirror.write(KEY, outgoing(tmp_path, data, told=done.append))
        assert done[0] > 24 * MB
        assert holds(mirror, data)

    @pytest.mark.parametrize("is_replaced", [False, True], ids=["new", "replaced"])
    def test_a_file_that_changed_is_not_stored(
        self, mirror: Mirror, tmp_path: Path, is_replaced: bool
    ) -> None:
        """A backup that is damaged on this machine does not replace a good one elsewhere."""
        if is_replaced:
            mirror.replace(KEY, _OLD)
        file = outgoing(tmp_path, some_bytes(6 * MB))
        with file.path.open("r+b") as stream:
            stream.seek(3 * MB)
            stream.write(b"damage")
        with pytest.raises(ChecksumMismatchError):
            mirror.write(KEY, file)
        with self.client(mirror) as other:
            assert [contents(other, key) for key in keys(other)] == [_OLD] * is_replaced

    def test_a_file_that_is_gone_is_not_stored(self, mirror: Mirror, tmp_path: Path) -> None:
        """A backup that was deleted before it was sent leaves no object."""
        file = outgoing(tmp_path, b"data")
        file.path.unlink()
        with pytest.raises(BackupError):
            mirror.write(KEY, file)
        assert keys(mirror) == []

    def test_fewer_bytes_are_noticed(self, mirror: Mirror, tmp_path: Path) -> None:
        """What arrived short has no name afterwards."""
        self._refuses(mirror, outgoing(tmp_path, some_bytes(3 * MB), kind=FewerBytes))

    def test_other_bytes_are_noticed(self, mirror: Mirror, tmp_path: Path) -> None:
        """What arrived otherwise has no name afterwards."""
        if not self.compares_contents:
            pytest.skip(f"{type(self).__name__}.compares_contents is False")
        self._refuses(mirror, outgoing(tmp_path, some_bytes(3 * MB), kind=OtherBytes))

    def _refuses(self, mirror: Mirror, file: Outgoing) -> None:
        with pytest.raises(ChecksumMismatchError):
            mirror.write(KEY, file)
        with self.client(mirror) as other:
            assert keys(other) == []
        data = file.path.read_bytes()
        file = Outgoing(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256)
        mirror.write(KEY, file)
        assert holds(mirror, data)
        assert self.leftovers(mirror) in (None, [])

    def test_two_at_once_leave_a_whole_one(
        self, mirror: Mirror, other: Mirror, tmp_path: Path
    ) -> None:
        """Two programs that store the same key at once: one may fail, the object is whole."""
        both = [some_bytes(8 * MB, seed=seed) for seed in (1, 2)]
        files = [outgoing(tmp_path, data) for data in both]
        stored: list[int] = []
        together = threading.Barrier(2)

        def store(number: int, client: Mirror) -> None:
            together.wait()
            try:
                client.write(KEY, files[number])
            except BackupError:
                return
            stored.append(number)

        threads = [
            threading.Thread(target=store, args=(number, client))
            for number, client in enumerate((mirror, other))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stored
        with self.client(mirror) as third:
            assert keys(third) == [KEY]
            assert any(holds(third, both[number]) for number in stored)

    def test_memory_stays_flat(self, mirror: Mirror, tmp_path: Path) -> None:
        """No mirror holds a large part of a file: not one that it stores, nor one that it reads."""
        file = outgoing(tmp_path, some_bytes(self.large_bytes))
        tracemalloc.start()
        try:
            mirror.write(KEY, file)
            size = sum(len(piece) for piece in mirror.read(KEY))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size == self.large_bytes
        assert peak < self.large_bytes / 2


class _cancel_after:  # noqa: N801 - used as a function
    """What raises once so many bytes are done."""

    def __init__(self, most: int) -> None:
        self._most = most

    def __call__(self, done_bytes: int) -> None:
        if done_bytes >= self._most:
            raise CancelledError
