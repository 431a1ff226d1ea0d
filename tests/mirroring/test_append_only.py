"""A mirror whose credentials cannot remove anything outlives whoever takes over this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import make_database
from s3_server import S3Server, use_server

from soulsense_db import BackupManager, RetentionPolicy


@pytest.fixture
def place(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Return a mirror in a bucket of which nobody may delete anything."""
    use_server(monkeypatch, s3, tmp_path)
    s3.behave("keep")
    yield f"s3://{s3.new_bucket()}/soulsense"
    s3.behave()


def test_nothing_fails_for_it(place: str, tmp_path: Path, make_engine: EngineMaker) -> None:
    """It can be used, all is uploaded and stays, and it is said that nothing can be removed."""
    (tmp_path / "app").mkdir()
    manager = BackupManager(
        make_engine(make_database(tmp_path / "app" / "app.db")),
        mirrors=place,
        mirror_retention=RetentionPolicy(keep_last=1),
    )
    trial = manager.mirrors.add(place)
    assert (trial.ok, trial.is_append_only) == (True, True)
    for number in (1, 2):
        manager.create(f"number {number}")
        (report,) = manager.mirrors.sync()
        assert (report.ok, len(report.uploaded), report.kept) == (True, 1, number)
    assert report.is_append_only
    assert manager.mirrors.status()[0].is_append_only
    (check,) = manager.mirrors.verify()
    assert len(check.verified) == 2
