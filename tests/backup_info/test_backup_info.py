"""BackupInfo and its meta file form."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soulsense_db.backup_info.fields import digest_of
from soulsense_db.backup_info.info import (
    KINDS,
    MAX_DESCRIPTION,
    BackupInfo,
    check_description,
    display_size,
)
from soulsense_db.backup_info.meta_format import from_meta, to_meta, without_meta
from soulsense_db.errors import InvalidDescriptionError, MetaFileError, NewerFormatError

PATH = Path("/backups/soulsense_backup_20260115_103000_weekly.db")
FOUND_AT = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)
INFO = BackupInfo(
    id="0123456789ab",
    path=str(PATH),
    created_at=datetime(2026, 1, 15, 10, 30, 0, 123456, tzinfo=UTC),
    size_bytes=1_258_291,
    kind="pre_migration",
    description='Weekly\tbackup of "Zoë" \u202e\n👨‍👩‍👧',
    sha256="ab" * 32,
    dialect="sqlite",
    database="app.db",
    alembic_heads=("a1", "b2"),
    target_revision="head",
    duration_seconds=0.125,
    driver_facts={"journal_mode": "wal", "page_size": "4096"},
)

_text = st.text(st.characters(exclude_categories=["Cs"]))
_short = st.text(st.characters(exclude_categories=["Cs"]), max_size=1000)
# A file's name may hold bytes that are no text: Python has them as lone surrogates.
_path = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]),
    min_size=1,
)
_infos = st.builds(
    BackupInfo,
    id=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    path=st.just(str(PATH)),
    created_at=st.datetimes(timezones=st.just(UTC)),
    size_bytes=st.integers(min_value=0, max_value=2**63 - 1),
    kind=st.sampled_from(KINDS),
    description=_text,
    sha256=st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    dialect=st.none() | _short,
    database=st.none() | _path,
    database_path=st.none() | _path,
    database_relative=st.none() | _path,
    alembic_heads=st.lists(_short).map(tuple),
    target_revision=st.none() | _short,
    duration_seconds=st.none() | st.floats(min_value=0, max_value=1e12),
    driver_facts=st.dictionaries(_short, _short, max_size=100),
    verified_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    pinned=st.booleans(),
    pin_note=_text,
    ordered_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    half_run=st.booleans(),
)


def read(data: bytes) -> BackupInfo:
    """Read meta file contents as those of ``PATH``."""
    return from_meta(data, PATH, size_bytes=7, found_at=FOUND_AT)


def sealed(**changes: Any) -> bytes:
    """Return a meta file with changed facts (None removes one) and a checksum that matches."""
    facts = json.loads(to_meta(INFO))
    del facts["meta_sha256"]
    facts = {name: value for name, value in (facts | changes).items() if value is not Ellipsis}
    facts["meta_sha256"] = digest_of(facts)
    return json.dumps(facts).encode()


@given(_infos)
def test_a_meta_file_holds_every_fact(info: BackupInfo) -> None:
    """Whatever text, time and numbers a backup has come back from its meta file as they were."""
    assert read(to_meta(info)) == info


def test_the_meta_file_is_json_with_documented_names() -> None:
    """Another program can read the meta file: JSON, UTF-8, format 1, ISO times, unescaped text."""
    data = to_meta(INFO)
    facts = json.loads(data)
    assert facts["format"] == 1
    assert facts["filename"] == PATH.name
    assert facts["created_at"] == "2026-01-15T10:30:00.123456+00:00"
    assert facts["alembic_heads"] == ["a1", "b2"]
    assert "path" not in facts
    assert "Zoë".encode() in data
    assert data.endswith(b"}\n")


def test_every_shortened_meta_file_is_refused() -> None:
    """A meta file that a crash cut short is never read as good, nor as somebody's description."""
    data = to_meta(INFO)
    for length in range(len(data.rstrip())):
        with pytest.raises(MetaFileError):
            read(data[:length])
    assert read(data.rstrip()) == INFO  # only the final line feed is gone: every fact is there


@pytest.mark.parametrize("mask", [1 << bit for bit in range(8)] + [0xFF])
def test_every_flipped_byte_is_refused(mask: int) -> None:
    """A meta file in which the disk changed one byte, any byte, is never read as good."""
    data = to_meta(INFO)
    for offset in range(len(data)):
        damaged = bytearray(data)
        damaged[offset] ^= mask
        with pytest.raises(MetaFileError):
            read(bytes(damaged))


@pytest.mark.parametrize(
    "text", ["Before the exam\n", "2024", '"quoted"', "[draft]", "Zoë's düfter 日記 😀", "a\tb\r\n"]
)
def test_an_older_soulsenses_description_is_kept(text: str) -> None:
    """A meta file that is not ours is the description an older SoulSense wrote."""
    info = read(text.encode())
    assert info.description == text.strip()
    assert (info.size_bytes, info.sha256, info.database) == (7, None, None)
    assert not info.meta_problem


def test_an_older_description_may_hold_any_emoji() -> None:
    """Emoji that are joined from several, and right-to-left marks, are text that people type."""
    text = "with the family 👨‍👩‍👧 \u200fשלום"
    assert read(text.encode()).description == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"\xff\xfe\x00",
        b"\x00\x01\x02",
        b"{",
        b'{"format": 1}',
        b"{}",
        b'["format"]',
        b'"meta_sha256"',
        b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_garbage_is_refused(data: bytes) -> None:
    """What is neither a meta file nor a line that a person typed is called damaged."""
    with pytest.raises(MetaFileError) as caught:
        read(data)
    assert PATH.name in caught.value.message
    assert f"{PATH.name}.meta" in caught.value.hint


@pytest.mark.parametrize(
    "data",
    [
        sealed(id=Ellipsis),
        sealed(created_at="yesterday"),
        sealed(created_at=5),
        sealed(created_at="0001-01-01T00:00:00+14:00"),
        sealed(ordered_at="tomorrow"),
        sealed(ordered_at="9999-12-31T23:59:59-14:00"),
        sealed(kind="monthly"),
        sealed(alembic_heads=3),
        sealed(driver_facts=[1]),
        sealed(size_bytes="many"),
    ],
)
def test_a_meta_file_that_lacks_facts_is_refused(data: bytes) -> None:
    """Facts that are missing or of the wrong kind are an error of the tree, not of Python."""
    with pytest.raises(MetaFileError):
        read(data)


def test_unknown_facts_are_passed_over() -> None:
    """A later version may add facts to format 1 and this one still reads the rest."""
    assert read(sealed(colour="blue")) == INFO


def test_a_newer_format_says_so() -> None:
    """A backup of a newer version is not guessed at: the error says to upgrade."""
    with pytest.raises(NewerFormatError) as caught:
        read(b'{"format": 4, "anything": []}')
    assert "Upgrade" in caught.value.hint


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KB"),
        (1_258_291, "1.2 MB"),
        (1024**3, "1.0 GB"),
        (5 * 1024**4, "5.0 TB"),
        (1024**6, "1024.0 PB"),
    ],
)
def test_sizes_are_shown_as_people_read_them(size: int, shown: str) -> None:
    """The guide promises sizes such as ``1.2 MB``."""
    assert display_size(size) == shown
    assert replace(INFO, size_bytes=size).size_display == shown


def test_names_come_from_the_path() -> None:
    """``filename`` and ``meta_path`` are those of the data file."""
    assert INFO.filename == PATH.name
    assert INFO.meta_path == f"{PATH}.meta"


@pytest.mark.usefixtures("in_kolkata")
def test_the_timestamp_is_naive_local_time() -> None:
    """The guide's script compares ``timestamp`` with ``datetime.now()``: naive and local."""
    assert INFO.timestamp == datetime(2026, 1, 15, 16, 0, 0, 123456)
    assert INFO.timestamp.tzinfo is None
    assert INFO.timestamp_display == "2026-01-15 16:00:00"
    fresh = replace(INFO, created_at=datetime.now(UTC))
    assert datetime.now() - fresh.timestamp < timedelta(minutes=1)


@pytest.mark.usefixtures("in_kolkata")
def test_the_last_day_of_the_calendar_can_be_shown() -> None:
    """A date that has no local time any more, as an insane clock makes it, is shown as it is."""
    info = replace(INFO, created_at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert info.timestamp_display == "9999-12-31 23:59:59"


@pytest.mark.usefixtures("in_kolkata")
def test_without_a_meta_file_the_name_tells_the_time() -> None:
    """A backup whose meta file is lost keeps its place in the list: the name has the local time."""
    info = without_meta(PATH, size_bytes=7, found_at=FOUND_AT)
    assert info.created_at == datetime(2026, 1, 15, 5, 0, tzinfo=UTC)
    assert info.timestamp_display == "2026-01-15 10:30:00"
    assert info.id == without_meta(PATH, size_bytes=8, found_at=FOUND_AT).id


@pytest.mark.parametrize("name", ["soulsense_backup_99999999_999999.db", "soulsense_backup_x.db"])
def test_a_name_without_a_time_falls_back_to_the_files(name: str) -> None:
    """A name that tells no time, or an impossible one, leaves the time the file was changed."""
    assert without_meta(Path(name), size_bytes=7, found_at=FOUND_AT).created_at == FOUND_AT


def test_descriptions_have_a_limit() -> None:
    """A description that would make the meta file unreadable is refused before anything is done."""
    check_description("x" * MAX_DESCRIPTION)
    with pytest.raises(InvalidDescriptionError, match="100,001"):
        check_description("x" * (MAX_DESCRIPTION + 1))


def test_lone_surrogates_are_refused() -> None:
    """A description that is no valid text cannot be written to a meta file and is refused."""
    with pytest.raises(InvalidDescriptionError, match="surrogates"):
        check_description("broken \ud800 text")


def test_infos_can_be_hashed_pickled_and_not_changed() -> None:
    """BackupInfo is a value: it goes into sets and to other processes, and nobody edits it."""
    assert {INFO, replace(INFO)} == {INFO}
    assert pickle.loads(pickle.dumps(INFO)) == INFO  # noqa: S301
    with pytest.raises(AttributeError):
        INFO.description = "other"  # type: ignore[misc]
