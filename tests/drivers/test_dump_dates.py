"""When a dump was made, as it says itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from soulsense_db.drivers.postgresql import archive


def test_the_date_of_an_archive_of_postgresql_15(tmp_path: Path) -> None:
    """PostgreSQL 15 writes it elsewhere than 16; what is no date, or is cut off, tells none."""
    head = bytes.fromhex(
        "5047444d50 01 0e 00 04 08 01 0101000000"
        "000e000000 000f000000 0008000000 001c000000 000a000000 007e000000 0000000000"
    )
    path = tmp_path / "old.dump"
    path.write_bytes(head + bytes(100))
    assert archive.created_at(path) == datetime(2026, 11, 28, 8, 15, 14).astimezone(UTC)
    path.write_bytes(head.replace(b"\x1c", b"\xff") + bytes(100))
    assert archive.created_at(path) is None
    path.write_bytes(head[:30])
    assert archive.created_at(path) is None
