"""What a mirror promises of small objects: created by one, replaced in one step, deleted."""

from __future__ import annotations

import threading
from pathlib import Path

from soulsense_db.mirrors import Mirror
from soulsense_db.testing.mirror_hooks import (
    FOLDER,
    KEY,
    MirrorHooks,
    contents,
    keys,
    outgoing,
)

_MACHINES = 6
_ROUNDS = 5


class SmallObjectPromises(MirrorHooks):
    """Of several machines, nobody overwrites another's, and nobody reads a part."""

    def test_what_is_there_is_not_created(self, mirror: Mirror, other: Mirror) -> None:
        """The first one stays, and the second one is told so."""
        assert mirror.create(KEY, b"first")
        assert not other.create(KEY, b"second")
        assert contents(other) == b"first"
        assert self.leftovers(mirror) in (None, [])

    def test_a_file_that_is_there_is_not_created(self, mirror: Mirror, tmp_path: Path) -> None:
        """However it got there."""
        mirror.write(KEY, outgoing(tmp_path, b"first"))
        assert not mirror.create(KEY, b"second")
        assert contents(mirror) == b"first"

    def test_what_is_gone_can_be_created(self, mirror: Mirror, other: Mirror) -> None:
        """A key that was deleted is free again."""
        assert mirror.create(KEY, b"first")
        other.delete(KEY)
        assert mirror.create(KEY, b"second")
        assert contents(other) == b"second"

    def test_of_several_machines_one_creates(self, mirror: Mirror) -> None:
        """One is told that it did, and it is that one's object."""
        for turn in range(_ROUNDS):
            key = f"{FOLDER}/{turn}.lock"
            told = self._all_at_once(mirror, key)
            assert len(told) == 1
            assert contents(mirror, key) == told[0]

    def _all_at_once(self, mirror: Mirror, key: str) -> list[bytes]:
        told: list[bytes] = []
        errors: list[BaseException] = []
        together = threading.Barrier(_MACHINES)

        def create(number: int) -> None:
            data = f"machine {number}".encode() * (number + 1)
            try:
                with self.client(mirror) as client:
                    keys(client, FOLDER)  # so that all are connected
                    together.wait()
                    if client.create(key, data):
                        told.append(data)
            except BaseException as error:  # noqa: BLE001 - looked at below
                errors.append(error)
                together.abort()

        threads = [threading.Thread(target=create, args=(number,)) for number in range(_MACHINES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        return told

    def test_an_object_is_replaced(self, mirror: Mirror, other: Mirror) -> None:
        """With one that is longer, shorter, empty; or made, where there was none."""
        for data in (b"first", b"the second one", b"", b"x"):
            mirror.replace(KEY, data)
            assert contents(other) == data
            assert [found.size_bytes for found in other.list_objects()] == [len(data)]
        assert self.leftovers(mirror) in (None, [])

    def test_who_reads_meanwhile_reads_one_of_both(self, mirror: Mirror, other: Mirror) -> None:
        """An object that is replaced is there at all times, the old one or the new one."""
        both = [b"1" * 1000, b"2" * 100_000]
        mirror.replace(KEY, both[0])
        done = threading.Event()
        seen: list[bytes] = []
        errors: list[BaseException] = []

        def look() -> None:
            try:
                while not done.is_set():
                    seen.append(contents(other))
            except BaseException as error:  # noqa: BLE001 - looked at below
                errors.append(error)

        thread = threading.Thread(target=look)
        thread.start()
        for number in range(40):
            mirror.replace(KEY, both[number % 2])
        done.set()
        thread.join()
        assert errors == []
        assert seen
        assert all(data in both for data in seen)

    def test_a_deleted_object_is_gone(self, mirror: Mirror, other: Mirror) -> None:
        """Nobody lists it any more, the others stay, and to delete it again is no error."""
        kept = f"{FOLDER}/kept.db"
        for key in (KEY, kept):
            mirror.replace(key, b"data")
        for _ in range(2):
            mirror.delete(KEY)
            assert keys(other) == [kept]
        mirror.delete("nobody/app.db")
        assert contents(other, kept) == b"data"
