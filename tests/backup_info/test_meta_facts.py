"""Facts from a meta file: whatever is in it, it is whole, or it is said what is wrong with it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from helpers import add_child, digest, make_database
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from shell import Shell

from soulsense_db import BackupManager
from soulsense_db.backup_info.fields import MAX_NESTING, digest_of
from soulsense_db.backup_info.info import MAX_DESCRIPTION, BackupInfo
from soulsense_db.backup_info.meta_format import MAX_META_BYTES, read_meta, to_meta, unknown_facts
from soulsense_db.errors import BackupError, MetaFileError
from soulsense_db.health import check_health
from soulsense_db.scheduled import run_auto

PATH = Path("/backups/soulsense_backup_20260115_103000.db")
INFO = BackupInfo(
    id="0123456789ab",
    path=str(PATH),
    created_at=datetime(2026, 1, 15, 10, 30, tzinfo=UTC),
    size_bytes=4096,
    description="Weekly",
    sha256="ab" * 32,
    dialect="sqlite",
    database="app.db",
    database_path="/srv/app/app.db",
    database_relative="../app.db",
    alembic_heads=("a1",),
    target_revision="b2",
    duration_seconds=0.5,
    driver_facts={"page_size": "4096"},
)
NAMES = [field.name for field in fields(BackupInfo) if field.name not in {"path", "meta_problem"}]


def sealed(data: bytes, **changes: Any) -> bytes:
    """Return a meta file with other facts and a checksum that matches."""
    facts = json.loads(data)
    del facts["meta_sha256"]
    facts |= changes
    facts["meta_sha256"] = digest_of(facts)
    return json.dumps(facts).encode()


def read(data: bytes) -> BackupInfo:
    """Read meta file contents as those of ``PATH``."""
    info = read_meta(data, PATH)
    assert isinstance(info, BackupInfo)
    return info


# One fact at a time

WRONG: dict[str, list[Any]] = {
    "id": [5, None, "", "a" * 65, "../../x", "a b", "a\n", "\x1b", "ä", ["a"], True],
    "created_at": [
        *(None, 0, 1e9, "", "now", "2026-01-15", "2026-01-15T10:30:00", "2026-13-01T00:00:00Z"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", ["2026-01-15T10:30:00Z"]),
    ],
    "size_bytes": [None, -1, 2**63, 10**30, 1.0, 1.5, "4096", True, [1]],
    "kind": [None, "", "monthly", 3, "MANUAL", ["manual"]],
    "description": [None, 1, ["x"], {"a": "b"}, "x" * (MAX_DESCRIPTION + 1), "\ud800", True],
    "sha256": ["", "ab", "AB" * 32, "ab" * 32 + "\n", "xy" * 32, 5, "ab" * 33, ["ab" * 32]],
    "plain_size_bytes": [-1, 2**63, 1.5, "4096", True, [1]],
    "plain_sha256": ["", "AB" * 32, "ab" * 32 + "\n", 5, ["ab" * 32]],
    "base_sha256": ["", "AB" * 32, "ab" * 32 + "\n", 5, ["ab" * 32]],
    "base_name": ["", 5, ["a.db"], "a\0b", "x" * 32_768],
    "recipients_sha256": ["", "AB" * 32, "ab" * 32 + "\n", 5, ["ab" * 32]],
    "sealed_description": ["", 5, "no base 64", "YQ==\n", ["YQ=="], "A" * 700_001],
    "dialect": [5, "x" * 1001, ["sqlite"], "\udc80", {}],
    "database": [5, "", "a\0b", "x" * 32_768, "\ud800", ["app.db"], False],
    "database_path": [5, "", "a\0b", "x" * 32_768, "\ud83d", {"a": 1}],
    "database_relative": [5, "", "\0", "x" * 32_768, "\udbff", 1.5],
    "alembic_heads": [None, "a1", 3, [3], [None], [["a"]], ["a"] * 1001, ["x" * 1001], {"a": 1}],
    "target_revision": [10**30, 5, 1e300, "x" * 10_001, ["b2"], True, "\ud800"],
    "duration_seconds": ["1", -0.5, 1e13, True, [1], 10**400],
    "driver_facts": [None, [1], "x", {"a": 1}, {"a": None}, {"a": {"b": "c"}}, {"x" * 1001: ""}],
    "verified_at": [5, "", "yesterday", "2026-01-15T10:30:00", True],
    "pinned": [None, 1, 0, "true", "", []],
    "pin_note": [None, 5, "x" * 10_001, ["why"], "\udfff"],
    "ordered_at": [5, "tomorrow", "9999-12-31T23:59:59-14:00", {}],
    "half_run": [None, 1, "false", [True]],
    "sealed_row_counts": ["", 5, "no base 64", "YQ==\n", ["YQ=="], "A" * 131_073],
    "row_counts": [
        *(5, "x", [1], {"a": "1"}, {"a": -1}, {"a": 1.5}, {"a": None}, {"a": 2**63}, {"a": True}),
        *({"x" * 1001: 1}, {str(number): 1 for number in range(1001)}),
    ],
    "broken_references": [-1, 2**63, 1.5, "3", True, [1]],
    "drilled_at": [5, "", "yesterday", "2026-01-15T10:30:00", True],
    "drill_result": [5, "", "ok", ["passed"], True],
    "drill_revision": [10**30, 5, 1e300, "x" * 10_001, ["b2"], True, "\ud800"],
    "format": [None, "1", 1.0, True, 0, -5, [1]],
}


def test_every_fact_has_wrong_values_here() -> None:
    """A fact that is added is tried with wrong values as well."""
    assert {*NAMES, "format"} == set(WRONG)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_fact_is_named(name: str) -> None:
    """Each fact has a type, a range and a length; the error says which one is wrong, and how."""
    for value in WRONG[name]:
        with pytest.raises(MetaFileError) as caught:
            read(sealed(to_meta(INFO), **{name: value}))
        told = caught.value.message
        assert f"its fact '{name}' is not " in told, (value, told)
        assert "Expected" not in told, "in plain words"
        assert f"{PATH.name}.meta" in caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "../x"},
        {"size_bytes": -1},
        {"size_bytes": True},
        {"description": "x" * (MAX_DESCRIPTION + 1)},
        {"pin_note": "\ud800"},
        {"sha256": "x"},
        {"database": "\ud800"},
        {"alembic_heads": (3,)},
        {"alembic_heads": ("x" * 1001,)},
        {"target_revision": 10**30},
        {"duration_seconds": float("nan")},
        {"duration_seconds": float("inf")},
        {"driver_facts": {"a": 1}},
        {"kind": "monthly"},
    ],
)
def test_a_wrong_fact_is_not_written_either(wrong: dict[str, Any]) -> None:
    """What this program could not read again, it does not write: the error names the fact."""
    (name,) = wrong
    with pytest.raises(MetaFileError, match=f"its fact '{name}' is not "):
        to_meta(replace(INFO, **wrong))


def test_a_backup_that_could_not_be_described_is_not_made(manager: BackupManager) -> None:
    """Facts that a caller gives are checked as well, before anything has a backup's name."""
    for wrong in ({"target_revision": "x" * 10_001}, {"alembic_heads": ["a"] * 1001}):
        with pytest.raises(MetaFileError, match=next(iter(wrong))):
            manager.create(**wrong)
    assert set(os.listdir(manager.directory)) == {".gitignore", ".soulsense_backup.lock"}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
_surrogates = st.text(st.characters(categories=["Cs", "Lu"]), min_size=1)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*NAMES, "format", "new"]), _json | _surrogates, min_size=1))
@example({"target_revision": 10**30})
@example({"size_bytes": float("inf"), "duration_seconds": float("nan")})
@example({"path": "/etc/passwd", "meta_problem": 5, "filename": 7})
def test_any_value_is_whole_or_refused(changes: dict[str, Any]) -> None:
    """Whatever stands in a fact, the result is one that can be written again, or an error."""
    try:
        data = sealed(to_meta(INFO), **changes)
        info = read(data)
    except MetaFileError:
        return
    assert info.path == str(PATH)
    assert not info.meta_problem
    again = read(to_meta(info, unknown_facts(data)))
    assert again == info
    assert info.timestamp_display
    assert info.size_display
    assert hash(info) == hash(again)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text().map(lambda t: t.encode(errors="surrogatepass")))
@example(b'{"a": ' * 50_000)
@example(b'{"format": 1e999}')
@example(b'{"format": 1' + b"0" * 5000 + b"}")
@example(b"\xef\xbb\xbf{}")
@example(b'"\\ud800"')
@example(b"x" * (MAX_DESCRIPTION + 1))
def test_any_bytes_are_a_description_or_refused(data: bytes) -> None:
    """Whatever a file beside a backup holds, reading it ends with a text or an error of ours."""
    try:
        found = read_meta(data, PATH)
    except MetaFileError:
        return
    assert isinstance(found, str)
    assert len(found) <= MAX_DESCRIPTION


# Facts of newer versions


@pytest.mark.parametrize(
    "fact",
    [
        "blue",
        {"deep": [1, 2.5, None, {"x": True}]},
        10**40,
        "\udcff",
        "Zoë \x7f\u2028",
        1e-9,
    ],
    ids=lambda fact: ascii(fact)[:12],
)
def test_facts_of_a_newer_version_stay(manager: BackupManager, tmp_path: Path, fact: Any) -> None:
    """Pinning, verifying and exporting keep what a newer version wrote, under the checksum."""
    info = manager.create("one")
    meta = Path(info.meta_path)
    meta.write_bytes(sealed(meta.read_bytes(), colour=fact))
    manager.pin(info, "why")
    assert manager.verify(info).recorded
    manager.unpin(info)
    copy = manager.export(info, tmp_path / "out.db")
    for path in (meta, Path(f"{copy}.meta")):
        told = json.loads(path.read_bytes())
        assert told["colour"] == fact
        seal = told.pop("meta_sha256")
        assert seal == digest_of(told)
        assert told["pinned"] is False
    assert manager.import_file(copy).description == "one"


def test_facts_of_a_newer_version_are_not_shown(shell: Shell) -> None:
    """They are nobody's business here: not in --json, and not in the catalog."""
    shell.create()
    (meta,) = (shell.database.parent / "backups").glob("*.meta")
    meta.write_bytes(sealed(meta.read_bytes(), colour="blue", path="/other", meta_problem="x"))
    (listed,) = shell.json("list")["backups"]
    assert "colour" not in listed
    assert listed["path"] == str(meta).removesuffix(".meta")
    assert listed["meta_problem"] == ""


def test_what_is_unknown_is_bounded() -> None:
    """Facts that could not be written again are refused when they are read: too deep, too large."""
    fine: Any = "x"
    for _ in range(MAX_NESTING):
        fine = [fine]
    data = sealed(to_meta(INFO), new=fine)
    assert read(data) == INFO
    assert to_meta(INFO, unknown_facts(data))
    with pytest.raises(MetaFileError, match=r"'new' is not nested at most 32 deep"):
        read(sealed(to_meta(INFO), new=[fine]))
    with pytest.raises(MetaFileError, match=r"it would have [\d,]+ bytes"):
        to_meta(INFO, {"new": "x" * MAX_META_BYTES})


def test_a_file_of_an_older_version_verifies(manager: BackupManager) -> None:
    """A checksum of the documented form is accepted, however numbers and letters are written."""
    data = to_meta(replace(INFO, duration_seconds=1e-05, description='Zoë "日記" 😀 \x7f\t/'))
    facts = json.loads(data)
    seal = facts.pop("meta_sha256")
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    assert seal == digest_of(json.loads(canonical))
    for text in (json.dumps(facts | {"meta_sha256": seal}), data.decode()):
        assert read(text.encode()).duration_seconds == 1e-05


def test_a_path_whose_bytes_are_no_text(tmp_path: Path) -> None:
    """A database under a name that is no text keeps its facts, also when they are rewritten."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff\xfe"))
    folder.mkdir()
    manager = BackupManager.from_url(str(make_database(folder / "app.db")))
    info = manager.create("one")
    manager.pin(info)
    (found,) = manager.list()
    assert found.database_path == info.database_path == str(folder / "app.db")
    assert not found.meta_problem
    assert b"\\udcff\\udcfe" in Path(info.meta_path).read_bytes()


# Afterwards everything goes on

CRAFTED: list[dict[str, Any]] = [
    {"target_revision": 10**30},
    {"size_bytes": 2**70},
    {"description": {"a": 1}},
    {"alembic_heads": [1, 2]},
    {"id": 7},
    {"duration_seconds": "x"},
    {"driver_facts": {"page_size": 4096}},
    {"pin_note": 5, "pinned": 1},
    {"sha256": 5},
    {"database_path": ["x"]},
    {"created_at": "0001-01-01T00:00:00+14:00"},
    {"new": json.loads("[" * 200 + "]" * 200)},
]


@pytest.mark.parametrize("changes", CRAFTED, ids=",".join)
def test_an_odd_meta_file_in_the_directory(manager: BackupManager, changes: dict[str, Any]) -> None:
    """It is shown as a problem of that backup; listing, creating and restoring go on."""
    good = manager.create("good")
    odd = manager.create("odd")
    meta = Path(odd.meta_path)
    meta.write_bytes(sealed(meta.read_bytes(), **changes))
    listed = {info.filename: info for info in manager.list()}
    problem = listed[odd.filename].meta_problem
    assert any(f"its fact '{name}' is not " in problem for name in changes)
    assert manager.database is not None
    before = digest(manager.database)
    add_child(manager.database)
    assert manager.create("new").sha256
    assert run_auto(manager) is not None
    check_health(manager)
    manager.catalog.rebuild()
    for use in (manager.pin, manager.verify):
        with pytest.raises(MetaFileError):
            use(odd.filename)
    assert manager.restore(good).catalog_rebuilt
    assert digest(manager.database) == before


@pytest.mark.parametrize("changes", CRAFTED, ids=",".join)
def test_an_odd_meta_file_is_not_imported(
    manager: BackupManager, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """It is refused before anything is copied, with what to do; without it the file comes in."""
    gift = manager.export(manager.create("good"), tmp_path / "gift.db")
    meta = Path(f"{gift}.meta")
    meta.write_bytes(sealed(meta.read_bytes(), **changes))
    names = sorted(os.listdir(manager.directory))
    with pytest.raises(MetaFileError) as caught:
        manager.import_file(gift)
    assert "gift.db.meta" in caught.value.hint
    assert sorted(os.listdir(manager.directory)) == names
    meta.unlink()
    assert manager.import_file(gift).sha256


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00+00:00",
        "0009-06-01T00:00:00+00:00",
        "0999-12-31T23:59:59+00:00",
        "9999-12-31T23:59:59.999999+00:00",
    ],
)
@pytest.mark.usefixtures("in_kolkata")
def test_a_date_at_the_end_of_the_calendar(
    manager: BackupManager, tmp_path: Path, moment: str
) -> None:
    """A file from elsewhere with a date that no clock shows is imported, and is then a backup."""
    gift = manager.export(manager.create("good"), tmp_path / "gift.db")
    meta = Path(f"{gift}.meta")
    meta.write_bytes(sealed(meta.read_bytes(), created_at=moment))
    info = manager.import_file(gift)
    assert info.filename in {found.filename for found in manager.list()}
    assert manager.create("after").filename
    assert manager.restore(info).verified


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from(NAMES), _json | _surrogates, min_size=1, max_size=3))
def test_after_any_import_everything_works(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Whether a crafted file is imported or refused: list, create and restore work afterwards."""
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    manager = BackupManager.from_url(str(make_database(folder / "app.db")))
    good = manager.create("good")
    gift = manager.export(good, folder / "gift.db")
    meta = Path(f"{gift}.meta")
    meta.write_bytes(sealed(meta.read_bytes(), **changes))
    before = digest(folder / "app.db")
    try:
        imported = {manager.import_file(gift).filename}
    except BackupError:
        imported = set()
    add_child(folder / "app.db")
    made = manager.create("new")
    listed = {info.filename for info in manager.list()}
    assert listed == {good.filename, made.filename} | imported
    report = manager.restore(good)
    assert report.verified
    assert report.catalog_rebuilt
    assert digest(folder / "app.db") == before
    with closing(sqlite3.connect(folder / "app.db")) as live:
        rows = {name for (name,) in live.execute("SELECT filename FROM backups")}
    assert rows == listed


@pytest.mark.parametrize("value", ["'x'", "5", "NULL", "1.5", "x'ff00'", f"'{'x' * 5000}'"])
@pytest.mark.parametrize("count", [1, 2000])
def test_a_table_of_the_name_of_alembic_s(manager: BackupManager, value: str, count: int) -> None:
    """Whatever an application keeps in an ``alembic_version`` of its own, it can be backed up."""
    assert manager.database is not None
    with closing(sqlite3.connect(manager.database)) as live:
        live.execute("CREATE TABLE alembic_version (version_num)")
        live.executemany(f"INSERT INTO alembic_version VALUES ({value})", [()] * count)
        live.commit()
    info = manager.create()
    assert len(info.alembic_heads) == (1 if count == 1 and len(value) < 1000 else 0)
    assert manager.get(info) == info
    assert manager.restore(info).verified


@pytest.mark.slow
def test_the_command_line_shows_it(shell: Shell) -> None:
    """``list`` and ``show`` name the problem; nothing is an internal error."""
    shell.create()
    (meta,) = (shell.database.parent / "backups").glob("*.meta")
    meta.write_bytes(sealed(meta.read_bytes(), target_revision=10**30))
    (listed,) = shell.json("list")["backups"]
    assert "target_revision" in listed["meta_problem"]
    assert "target_revision" in shell.ok("show", meta.name.removesuffix(".meta"))
    text = shell.fails(MetaFileError, "pin", meta.name.removesuffix(".meta"))
    assert "its fact 'target_revision' is not text of at most 10,000 characters or null" in text
