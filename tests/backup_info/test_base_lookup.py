"""Which backups need which: told by the checksum of the database in a base, whatever its form."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from soulsense_db.backup_info import (
    BackupInfo,
    bases_for,
    dependents,
    is_best_base,
    without_base,
)

THIS, OTHER = "a" * 64, "b" * 64
TAKEN = datetime(2026, 1, 15, tzinfo=UTC)


def _backup(name: str, **facts: Any) -> BackupInfo:
    return BackupInfo(path=f"/backups/{name}", created_at=TAKEN, size_bytes=1, **facts)


DIFFERENTIAL = _backup("d.db.diff", sha256=OTHER, plain_sha256=OTHER, base_sha256=THIS)
PLAIN = _backup("p.db", sha256=THIS)
COMPRESSED = _backup("z.db.zst", sha256=OTHER, plain_sha256=THIS)


@pytest.mark.parametrize("base", [PLAIN, COMPRESSED])
def test_a_base_is_found_in_any_form(base: BackupInfo) -> None:
    """The stored bytes of a compressed one do not matter, what is in it does."""
    backups = [DIFFERENTIAL, base]
    assert bases_for(DIFFERENTIAL, backups) == [base]
    assert dependents(base, backups) == [DIFFERENTIAL]
    assert without_base(backups) == []


def test_with_two_bases_neither_is_needed() -> None:
    """A restore can take either; only the last one that goes takes the differential along."""
    backups = [DIFFERENTIAL, PLAIN, COMPRESSED]
    assert bases_for(DIFFERENTIAL, backups) == [PLAIN, COMPRESSED]
    assert dependents(PLAIN, backups) == dependents(COMPRESSED, backups) == []


@pytest.mark.parametrize(
    "other",
    [
        _backup("o.db", sha256=OTHER),
        _backup("s.db.zst", sha256=THIS, plain_sha256=OTHER),
        _backup("m.db", sha256=THIS, meta_problem="damaged"),
        _backup("d2.db.diff", sha256=OTHER, plain_sha256=THIS, base_sha256=OTHER),
    ],
    ids=lambda info: info.filename,
)
def test_what_is_no_base(other: BackupInfo) -> None:
    """Another content, a checksum of stored bytes, what cannot be trusted, another differential."""
    assert bases_for(DIFFERENTIAL, [DIFFERENTIAL, other]) == []
    assert dependents(other, [DIFFERENTIAL, other]) == []
    assert DIFFERENTIAL in without_base([DIFFERENTIAL, other])
    assert dependents(PLAIN, [DIFFERENTIAL, PLAIN, other]) == [DIFFERENTIAL]


def test_a_full_backup_has_no_base() -> None:
    """It is found to have none, even beside others of the same content."""
    assert bases_for(PLAIN, [PLAIN, COMPRESSED]) == []


def test_the_best_base_is_the_first() -> None:
    """Sound before damaged, without a key before with one, then the one it was made with."""
    sound: dict[str, Any] = {"sha256": OTHER, "plain_sha256": THIS, "verified_at": TAKEN}
    named = _backup("n.db.zst", **sound)
    twin = _backup("t.db.zst", **sound)
    sealed = _backup("s.db.zst.age", **sound)
    damaged = _backup("x.db.zst", **sound | {"verified_at": None})
    info = replace(DIFFERENTIAL, base_name=named.filename)
    everything = [damaged, sealed, twin, named]
    assert bases_for(info, everything) == [named, twin, sealed, damaged]
    assert [base for base in everything if is_best_base(base, info)] == [named]
    of_damaged = replace(DIFFERENTIAL, base_name=damaged.filename)
    assert bases_for(of_damaged, everything)[-1] == damaged
    assert not is_best_base(damaged, of_damaged)
