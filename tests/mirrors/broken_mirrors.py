"""Mirrors that each break one promise, and the tests of the suite that find them.

No tests of ours: ``test_mirror_suite_finds.py`` runs them, and looks whether ``found_by`` fail.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import ClassVar

import pytest

from soulsense_db.errors import MirrorError
from soulsense_db.mirrors import Mirror, MirrorUrl, Outgoing, StoredObject
from soulsense_db.mirrors.file import FileMirror
from soulsense_db.testing import MirrorSuite


class Broken(MirrorSuite):
    """A suite for the mirror ``broken``."""

    broken: ClassVar[type[Mirror]]
    found_by: ClassVar[tuple[str, ...]]
    bad_urls = ("file://host/path",)

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        """Keep the places apart from the files that are stored."""
        self.root = tmp_path / "places"
        self.root.mkdir()

    def make_mirror(self) -> Mirror:
        """Return the broken mirror in a new directory."""
        mirror = self.broken(MirrorUrl.of(f"file://{self.root}/{uuid.uuid4().hex}"))
        mirror.prepare()
        return mirror

    def unprepared(self, mirror: Mirror) -> Mirror:
        """Return a mirror in an empty directory."""
        place = self.root / uuid.uuid4().hex
        place.mkdir()
        return self.broken(MirrorUrl.of(f"file://{place}"))

    def leftovers(self, mirror: Mirror) -> list[str]:
        """Return the hidden files but the marker."""
        place = Path(mirror.url.path)
        return [path.name for path in place.rglob(".*") if "mirror" not in path.name]


def _path(mirror: Mirror, key: str) -> Path:
    path = Path(mirror.url.path) / key
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


class _WritesInPlace(FileMirror):
    def write(self, key: str, file: Outgoing) -> None:
        with _path(self, key).open("wb", buffering=0) as stream:
            for chunk in file.chunks():
                stream.write(chunk)


class TestWritesInPlace(Broken):
    broken = _WritesInPlace
    found_by = (
        "test_nobody_sees_a_part_of_it",
        "test_a_cancelled_one_is_not_there",
        "test_a_file_that_changed_is_not_stored",
    )


class _ComparesNothing(FileMirror):
    def write(self, key: str, file: Outgoing) -> None:
        self.replace(key, b"".join(file.chunks()))


class TestComparesNothing(Broken):
    broken = _ComparesNothing
    found_by = (
        "test_fewer_bytes_are_noticed",
        "test_other_bytes_are_noticed",
        "test_memory_stays_flat",
    )


class _SwallowsWhatCancels(FileMirror):
    def write(self, key: str, file: Outgoing) -> None:
        try:
            super().write(key, file)
        except Exception as error:
            raise MirrorError("It failed.") from error


class TestSwallowsWhatCancels(Broken):
    broken = _SwallowsWhatCancels
    found_by = (
        "test_a_cancelled_one_is_not_there",
        "test_a_file_that_changed_is_not_stored",
        "test_it_goes_on_where_it_was_cut_off",
    )
    supports_resume = True


class _StartsAnew(FileMirror):
    """It says that it goes on, and does not."""


class TestStartsAnew(Broken):
    broken = _StartsAnew
    found_by = ("test_it_goes_on_where_it_was_cut_off",)
    supports_resume = True


class _LeavesPartials(FileMirror):
    def write(self, key: str, file: Outgoing) -> None:
        path = _path(self, key)
        path.with_name(f".{path.name}.{uuid.uuid4()}").touch()
        super().write(key, file)


class TestLeavesPartials(Broken):
    broken = _LeavesPartials
    found_by = ("test_a_file_comes_back", "test_what_is_left_of_another_file_is_removed")


class _TellsNoProgress(FileMirror):
    def write(self, key: str, file: Outgoing) -> None:
        super().write(key, replace(file, told=lambda done_bytes: None))


class TestTellsNoProgress(Broken):
    broken = _TellsNoProgress
    found_by = ("test_a_file_comes_back", "test_a_cancelled_one_is_not_there")


class _ReadsFromTheBeginning(FileMirror):
    def read(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        return super().read(key)


class TestReadsFromTheBeginning(Broken):
    broken = _ReadsFromTheBeginning
    found_by = ("test_it_is_read_from_any_byte_on",)


class _ReadsInOnePiece(FileMirror):
    def read(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        yield b"".join(super().read(key, start=start))


class TestReadsInOnePiece(Broken):
    broken = _ReadsInOnePiece
    found_by = ("test_memory_stays_flat",)


class _ReadsWhatIsMissing(FileMirror):
    def read(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        path = Path(self.url.path) / key
        return super().read(key, start=start) if path.exists() else iter(())


class TestReadsWhatIsMissing(Broken):
    broken = _ReadsWhatIsMissing
    found_by = ("test_an_object_that_is_missing_is_said_so",)


class _ReplacesWhatIsThere(FileMirror):
    def create(self, key: str, data: bytes) -> bool:
        self.replace(key, data)
        return True


class TestReplacesWhatIsThere(Broken):
    broken = _ReplacesWhatIsThere
    found_by = (
        "test_what_is_there_is_not_created",
        "test_a_file_that_is_there_is_not_created",
        "test_of_several_machines_one_creates",
    )


class _LooksBeforeItCreates(FileMirror):
    def create(self, key: str, data: bytes) -> bool:
        if _path(self, key).exists():
            return False
        self.replace(key, data)
        return True


class TestLooksBeforeItCreates(Broken):
    broken = _LooksBeforeItCreates
    found_by = ("test_of_several_machines_one_creates",)


class _DeletesBeforeItReplaces(FileMirror):
    def replace(self, key: str, data: bytes) -> None:
        self.delete(key)
        super().replace(key, data)


class TestDeletesBeforeItReplaces(Broken):
    broken = _DeletesBeforeItReplaces
    found_by = ("test_who_reads_meanwhile_reads_one_of_both",)


class _DeletesOnlyWhatIsThere(FileMirror):
    def delete(self, key: str) -> None:
        try:
            os.unlink(Path(self.url.path) / key)  # noqa: PTH108
        except OSError as error:
            raise MirrorError("It is not there.") from error


class TestDeletesOnlyWhatIsThere(Broken):
    broken = _DeletesOnlyWhatIsThere
    found_by = ("test_a_deleted_object_is_gone",)


class _FillsAnyDirectory(FileMirror):
    def write(self, key: str, file: Outgoing) -> None:
        self.prepare()
        super().write(key, file)


class TestFillsAnyDirectory(Broken):
    broken = _FillsAnyDirectory
    found_by = (
        "test_a_place_that_is_missing_is_said_so",
        "test_a_place_that_is_not_set_up_is_not_filled",
    )


class _StartsOver(FileMirror):
    def prepare(self) -> None:
        super().prepare()
        for found in list(self.list_objects()):
            self.delete(found.key)


class TestStartsOver(Broken):
    broken = _StartsOver
    found_by = ("test_setting_up_again_is_harmless",)


class _ListsTheFirstPage(FileMirror):
    def list_objects(self, folder: str | None = None) -> Iterator[StoredObject]:
        return islice(super().list_objects(folder), 50)


class TestListsTheFirstPage(Broken):
    broken = _ListsTheFirstPage
    found_by = ("test_many_objects_are_all_listed",)


class _ListsByTheBeginning(FileMirror):
    def list_objects(self, folder: str | None = None) -> Iterator[StoredObject]:
        return (one for one in super().list_objects() if one.key.startswith(folder or ""))


class TestListsByTheBeginning(Broken):
    broken = _ListsByTheBeginning
    found_by = ("test_a_folder_lists_its_own_objects",)


class _TellsNoZone(FileMirror):
    def list_objects(self, folder: str | None = None) -> Iterator[StoredObject]:
        for found in super().list_objects(folder):
            assert found.modified_at is not None
            yield replace(found, modified_at=found.modified_at.replace(tzinfo=None))


class TestTellsNoZone(Broken):
    broken = _TellsNoZone
    found_by = ("test_an_object_is_listed_as_it_is",)


class _QuotesNames(FileMirror):
    def list_objects(self, folder: str | None = None) -> Iterator[StoredObject]:
        for found in super().list_objects(folder):
            yield replace(found, key=found.key.replace(" ", "%20"))


class TestQuotesNames(Broken):
    broken = _QuotesNames
    found_by = ("test_odd_names_come_back",)


class _TakesAnyKey(FileMirror):
    def replace(self, key: str, data: bytes) -> None:
        super().replace("folder/name", data)


class TestTakesAnyKey(Broken):
    broken = _TakesAnyKey
    found_by = ("test_a_key_leads_nowhere_else",)


class _TakesAnyUrl(FileMirror):
    def __init__(self, url: MirrorUrl, *, timeout: float = 60.0) -> None:
        super().__init__(replace(url, host=""), timeout=timeout)


class TestTakesAnyUrl(Broken):
    broken = _TakesAnyUrl
    found_by = ("test_a_url_that_cannot_be_is_refused",)
