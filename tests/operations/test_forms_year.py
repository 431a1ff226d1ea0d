"""A year of backups in forms, and two processes at once: no differential is without its base."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import time_machine
from age_keys import Key
from conftest import EngineMaker
from forms import ALWAYS, add_noise, how
from helpers import Child, add_child, digest, execute, make_database

from soulsense_db import BackupInfo, BackupManager, RetentionPolicy
from soulsense_db.backup_info import without_base
from soulsense_db.errors import BackupNotFoundError, BaseError, ProtectedBackupError
from soulsense_db.operations import DifferentialPolicy

pytestmark = pytest.mark.slow

_DAYS = 370
_LOST_ON = 200
_START = datetime(2025, 1, 1, 3, 30, tzinfo=ZoneInfo("UTC"))
_POLICY = RetentionPolicy(keep_daily=14, keep_weekly=8, keep_monthly=12)


def test_a_year_with_a_lost_base(
    database: Path, tmp_path: Path, make_engine: EngineMaker, key: Key
) -> None:
    """Every listed backup is restorable at the end, but those on the base that was lost.

    A new base is taken at once, bases go when nothing needs them, and another database in the same
    directory is not touched by any of it.
    """
    options = how("diff", "key", key) | {"retention": _POLICY, "differential": True}
    manager = BackupManager(make_engine(database), **options)
    neighbour = BackupManager(
        make_engine(make_database(tmp_path / "other.db", rows=20)), manager.directory, **options
    )
    rows: dict[str, str] = {}
    lost: BackupInfo | None = None
    doomed: set[str] = set()
    most_bases = 0
    pinned = ""
    with time_machine.travel(_START, tick=True) as clock:
        for day in range(_DAYS):
            clock.move_to(_START + timedelta(days=day))
            add_child(database, f"day {day}")
            execute(database, f"UPDATE child SET amount = amount WHERE id % 100 = {day % 100}")
            info = manager.create(f"day {day}", kind="automatic")
            rows[info.id] = digest(database)
            if day % 30 == 0:
                neighbour.create(f"day {day}", kind="automatic")
            if day == 45:
                pinned = manager.pin(info, "for the audit").id
            if day == _LOST_ON:
                lost = _base_of(manager, info)
                doomed = {one.id for one in manager.dependents(lost)}
                assert info.id in doomed
                Path(lost.path).unlink()
                Path(lost.meta_path).unlink()
                rows.pop(lost.id)
            if day == _LOST_ON + 1:
                assert not info.form.is_differential
                found = {one.id for one in without_base(manager.list())}
                assert found == doomed
            if day % 10 == 0:
                bases = [one for one in manager.list() if not one.form.is_differential]
                most_bases = max(most_bases, len(bases))
        left = manager.list()
        live = digest(database)
        dead = {one.id for one in without_base(left)}
        assert dead <= doomed
        for info in left:
            if info.id in dead:
                with pytest.raises(BaseError):
                    manager.restore(info)
            else:
                assert manager.verify(info).checksum
                manager.restore(info)
                assert digest(database) == rows[info.id], info.filename
        assert digest(database) != live
        assert len(neighbour.list()) >= 12
        assert all(neighbour.verify(info).checksum for info in neighbour.list())
    assert pinned in {info.id for info in left}
    # Each month has a base, and what the policy keeps needs no more of them than that.
    assert most_bases <= 16
    plan = manager.prune(_POLICY, dry_run=True)
    reasons = {decision.backup.id: decision.reasons for decision in plan.kept}
    for base in (info for info in left if not info.form.is_differential):
        assert reasons[base.id]
    assert sum(info.form.is_differential for info in left) > len(left) / 2


def _base_of(manager: BackupManager, info: BackupInfo) -> BackupInfo:
    return next(one for one in manager.list() if one.database_sha256 == info.base_sha256)


def test_a_base_is_deleted_while_differentials_are_made(
    database: Path, make_engine: EngineMaker
) -> None:
    """Two processes, many times: a differential never has its name without its base."""
    add_noise(database, 2)
    manager = BackupManager(make_engine(database), differential=ALWAYS, lock_timeout=20)
    deleted = refused = tried = 0
    with Child("create_differentials.py", database) as child:
        child.expect("ready")
        while deleted < 20 or not refused:  # which of both comes first is chance
            for info in manager.list():
                if info.form.is_differential:
                    continue
                tried += 1
                try:
                    manager.delete(info, cascade=tried % 3 != 0)
                    deleted += 1
                except ProtectedBackupError:
                    refused += 1
                except BackupNotFoundError:  # it was deleted by a cascade
                    continue
                assert without_base(manager.list()) == []
        child.tell("")
        assert int(child.line()) > 10
    for info in manager.list():
        assert manager.verify(info).checksum


def test_a_new_base_at_the_share_of_the_database_that_grows(
    database: Path, make_engine: EngineMaker
) -> None:
    """With a third changed there is a new base, and nothing is taken for the sake of its age."""
    policy = DifferentialPolicy(share=1 / 3, max_base_age=timedelta(days=300))
    manager = BackupManager(make_engine(database), differential=policy)
    add_noise(database, 10)
    forms = []
    for day in range(12):
        add_noise(database, 1, seed=day + 10)
        forms.append(manager.create().form.is_differential)
    assert forms.count(False) in (2, 3, 4)
    assert without_base(manager.list()) == []
