"""Backups, meta files, safety backups and live databases that a disk has damaged."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import pytest
from helpers import digest

from faults.damage import (
    Outcomes,
    Place,
    Record,
    cases,
    cut,
    cuts,
    drawn,
    place_in_memory,
    require_sound,
)
from soulsense_db import RetentionPolicy
from soulsense_db.drivers import CheckLevel
from soulsense_db.errors import (
    ChecksumMismatchError,
    InvalidBackupError,
    MetaFileError,
    PermissionDeniedError,
)
from soulsense_db.health import check_health
from soulsense_db.scheduled import run_auto

LEVELS: tuple[CheckLevel, ...] = ("quick", "full")


@pytest.fixture
def place() -> Iterator[Place]:
    """Return a database with a backup, and rows that came after it."""
    with place_in_memory() as made:
        yield made


def try_all(place: Place, outcomes: Outcomes) -> None:
    """List, verify, compare and restore; hold what must be true of each."""
    manager, trusted = place.manager, place.meta.exists()
    damaged = place.data.read_bytes()
    whole = not place.is_damaged(place.data)
    (listed,) = manager.list()
    assert listed.filename == place.data.name
    assert listed.meta_problem or listed == place.info or not trusted, "facts that are wrong"
    for level in LEVELS:
        error = outcomes.of(f"verify {level}", partial(manager.verify, place.info, level=level))
        if error is None:
            assert whole or not trusted, f"verify {level} passed"
        else:
            assert isinstance(error, InvalidBackupError | MetaFileError), error
    if error is None and not whole:
        require_sound(place.data)
    outcomes.of("compare", lambda: manager.compare(place.info))
    place.require_live_untouched()
    error = outcomes.of("restore", lambda: manager.restore(place.info))
    if error is not None:
        place.require_live_untouched()
        assert manager.safety_backup() is None
    elif whole or trusted:
        assert digest(place.live) == place.true_content
    else:
        require_sound(place.live)
    assert place.data.read_bytes() == damaged, "the backup was written to"


def test_damaged_backups_are_never_restored(
    place: Place, full: bool, seed: int, record: Record
) -> None:
    """Cut anywhere, or with any bits flipped, a backup fails its check and is not restored."""
    random, outcomes = Random(f"{seed} backup"), Outcomes(place)
    data = place.before[place.data]
    drawn_ones = (drawn(data, random) for _ in range(2 * cases(full)))
    for damage in (*cuts(data), *drawn_ones):
        with outcomes.case(f"backup {damage.text}"):
            place.data.write_bytes(damage.data)
            try_all(place, outcomes)
    outcomes.record(record)


def test_damaged_meta_files_mislead_nobody(
    place: Place, full: bool, seed: int, record: Record
) -> None:
    """With a damaged meta file the backup is listed and refused, or restored as it was."""
    random, outcomes = Random(f"{seed} meta"), Outcomes(place)
    meta, data = place.before[place.meta], place.before[place.data]
    lengths = range(0, len(meta), 2 if full else 50)
    drawn_ones = (drawn(meta, random) for _ in range(cases(full)))
    for damage in (*(cut(meta, length) for length in lengths), *drawn_ones):
        also = drawn(data, random) if random.random() < 0.3 else None
        with outcomes.case(f"meta file {damage.text}; backup {also.text if also else 'whole'}"):
            place.meta.write_bytes(damage.data)
            if also:
                place.data.write_bytes(also.data)
            try_all(place, outcomes)
    outcomes.record(record)


def test_without_a_meta_file_what_is_restored_is_sound(
    place: Place, full: bool, seed: int, record: Record
) -> None:
    """Without a checksum only the structure can be checked: what is restored or imported has it."""
    random, outcomes = Random(f"{seed} no meta"), Outcomes(place)
    data = place.before[place.data]
    for _ in range(cases(full)):
        damage = drawn(data, random)
        with outcomes.case(f"without meta file, backup {damage.text}"):
            place.meta.unlink()
            place.data.write_bytes(damage.data)
            try_all(place, outcomes)
            if random.random() < 0.7:
                continue
            if outcomes.of("import", lambda: place.manager.import_file(place.data)) is None:
                # Rows that an index misses are no reason to refuse a file that somebody brings.
                imported = next(i for i in place.manager.list() if i.kind == "imported")
                assert place.manager.verify(imported).checksum
    outcomes.record(record)


def test_data_that_no_structure_tells_of_is_told_by_the_checksum(
    place: Place, full: bool, seed: int, record: Record
) -> None:
    """A bit that flips in the text of a row is found by the checksum alone, at every level."""
    random, outcomes = Random(f"{seed} text"), Outcomes(place)
    data = place.before[place.data]
    places = [found for found in range(len(data)) if data.startswith(b"line ", found)]
    for _ in range(cases(full) // 5):
        offset, bit = random.choice(places) + random.randrange(4), random.randrange(5)
        with outcomes.case(f"backup flipped bit {bit} of byte {offset}"):
            damaged = bytearray(data)
            damaged[offset] ^= 1 << bit
            place.data.write_bytes(bytes(damaged))
            require_sound(place.data)
            for level in LEVELS:
                with pytest.raises(ChecksumMismatchError):
                    place.manager.verify(place.info, level=level)
            with pytest.raises(ChecksumMismatchError):
                place.manager.restore(place.info)
            place.require_live_untouched()
            outcomes.count("restore", "refused: ChecksumMismatchError")
    outcomes.record(record)


def test_a_schedule_replaces_a_damaged_backup(
    place: Place, full: bool, seed: int, record: Record
) -> None:
    """A run of ``auto`` takes another backup, and its clean-up keeps a sound one in any case."""
    random, outcomes = Random(f"{seed} auto"), Outcomes(place)
    place.manager.restore(place.info)  # nothing has changed since the backup
    place.keep()
    for _ in range(cases(full) // 5):
        path = random.choice([place.data, place.data, place.meta])
        damage = drawn(place.before[path], random)
        with outcomes.case(f"{path.name} {damage.text}"):
            path.write_bytes(damage.data)
            report = run_auto(place.manager, RetentionPolicy(keep_last=1))
            assert report is not None
            replaced = report.created is not None
            assert replaced or not place.is_damaged(place.data)
            assert place.manager.verify("latest").checksum
            outcomes.count("auto", "done: another backup" if replaced else "done")
    outcomes.record(record)


def test_a_damaged_safety_backup_is_not_undone_to(
    place: Place, full: bool, seed: int, record: Record
) -> None:
    """``undo`` refuses it and changes nothing; restoring another backup still works."""
    random, outcomes = Random(f"{seed} undo"), Outcomes(place)
    overwritten_content = place.content
    place.manager.restore(place.info)
    place.keep()
    safety = place.manager.safety_backup()
    assert safety is not None
    data, meta = Path(safety.path), Path(safety.meta_path)
    for _ in range(cases(full)):
        chosen = random.choice([[data], [data], [meta], [data, meta]])
        damages = {path: drawn(place.before[path], random) for path in chosen}
        without_meta = random.random() < 0.1
        text = "; ".join(f"{path.name} {damage.text}" for path, damage in damages.items())
        with outcomes.case(f"{text}{'; no meta file' if without_meta else ''}"):
            for path, damage in damages.items():
                path.write_bytes(damage.data)
            if without_meta:
                meta.unlink()
            damaged = data.read_bytes()
            whole = not place.is_damaged(data)
            error = outcomes.of("undo", place.manager.undo_restore)
            if error is None:
                assert whole or without_meta
                if whole:
                    assert digest(place.live) == overwritten_content
                require_sound(place.live)
                continue
            place.require_live_untouched()
            assert data.read_bytes() == damaged
            if random.random() < 0.2:
                assert outcomes.of("restore", lambda: place.manager.restore(place.info)) is None
                assert digest(place.live) == place.true_content
    outcomes.record(record)


def test_a_damaged_live_database_can_be_restored(
    place: Place, full: bool, seed: int, record: Record
) -> None:
    """Whatever became of the live file: no unsound backup is made of it, and it is restored."""
    random, outcomes = Random(f"{seed} live"), Outcomes(place)
    live = place.before[place.live]
    for _ in range(cases(full) // 4):
        damage = drawn(live, random)
        with outcomes.case(f"live database {damage.text}"):
            place.live.write_bytes(damage.data)
            if outcomes.of("create", partial(place.manager.create, "New")) is None:
                # One with a damaged index; only the full check, which takes far longer, finds it.
                assert place.manager.verify("latest", level="quick").checksum
            outcomes.of("compare", lambda: place.manager.compare(place.info))
            outcomes.of("status", lambda: check_health(place.manager))
            error = outcomes.of("restore", lambda: place.manager.restore(place.info))
            if error is not None:
                # By its header nobody may write it. That can be true for other reasons.
                assert isinstance(error, PermissionDeniedError)
                assert place.live.read_bytes() == damage.data
                place.live.unlink()  # what the hint says
                place.manager.restore(place.info)
            assert digest(place.live) == place.true_content
    outcomes.record(record)
