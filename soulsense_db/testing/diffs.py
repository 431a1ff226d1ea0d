"""What a driver promises of differences between two backups."""

from __future__ import annotations

import os
from functools import partial

import pytest
import sqlalchemy as sa

from soulsense_db.drivers import Driver
from soulsense_db.errors import InvalidBackupError, OptionError
from soulsense_db.testing.hooks import DriverHooks
from soulsense_db.testing.live import (
    FIRST_NOTES,
    CancelledError,
    Live,
    Reports,
    accounts,
    cancel,
    contents_of,
    notes,
    versions,
)

_BOTH = ("soulsense_accounts", "soulsense_notes")


class DiffPromises(DriverHooks):
    """What :meth:`~soulsense_db.drivers.Driver.diff` tells; skipped where a driver has none."""

    def test_two_backups_of_the_same_differ_in_nothing(self, live: Live) -> None:
        """Every table is named that was compared, and no file is changed."""
        _require_diff(live)
        (first, _), (second, _) = live.snapshot("first"), live.snapshot("second")
        before = contents_of(live.folder)
        report = live.driver.diff(first, second, rows=5)
        assert report.identical
        assert [(one.table, one.rows_before, one.rows_after) for one in report.tables] == [
            (name, 2, 2) for name in _BOTH
        ]
        assert contents_of(live.folder) == before

    def test_differences_go_from_the_first_to_the_second(self, live: Live) -> None:
        """Rows added, removed and changed, with their values in the order of their keys."""
        _require_diff(live)
        first, _ = live.snapshot("first")
        live.add("three", "four")
        live.execute(
            sa.delete(notes).where(notes.c.body == "one"),
            sa.update(notes).where(notes.c.body == FIRST_NOTES[1]).values(body="Dear"),
            sa.update(accounts).values(amount=accounts.c.id),
        )
        versions.create(live.engine)
        live.execute(sa.insert(versions).values(version_num="0001"))
        second, _ = live.snapshot("second")
        report = live.driver.diff(first, second, rows=1)
        assert [change.sentence for change in report.schema] == ["Table alembic_version was added."]
        assert (report.alembic_heads_before, report.alembic_heads_after) == ((), ("0001",))
        new, amounts, bodies = report.changed_tables
        assert (new.table, new.rows_before, new.rows_after) == ("alembic_version", None, 1)
        assert (new.added, new.removed, new.changed) == (1, 0, 0)
        assert [column.column for column in amounts.columns] == ["amount"]
        (sample,) = amounts.samples
        assert (sample.key, sample.before, sample.after) == ((1,), (1, 0), (1, 1))
        assert (bodies.added, bodies.removed, bodies.changed) == (2, 1, 1)
        assert (bodies.matched_by, bodies.key, bodies.compared) == ("key", ("id",), ("id", "body"))
        (body,) = bodies.columns
        assert (body.differing, body.became_null, body.became_shorter) == (1, 0, 1)
        assert [(one.kind, one.key) for one in bodies.samples] == [
            ("added", (3,)),
            ("removed", (1,)),
            ("changed", (2,)),
        ]
        back = live.driver.diff(second, first)
        assert [change.sentence for change in back.schema] == ["Table alembic_version was removed."]
        assert [(one.added, one.removed) for one in back.changed_tables] == [(0, 1), (0, 0), (1, 2)]
        assert not any(table.samples for table in back.tables)

    def test_tables_can_be_chosen_or_left_out(self, live: Live) -> None:
        """A table that neither has is an error, before anything is compared."""
        _require_diff(live)
        (path, _) = live.snapshot()
        chosen = live.driver.diff(path, path, only=["SOULSENSE_NOTES"])
        assert [table.table for table in chosen.tables] == ["soulsense_notes"]
        others = live.driver.diff(path, path, ignore=["soulsense_notes"])
        assert [table.table for table in others.tables] == ["soulsense_accounts"]
        error = live.refused(OptionError, lambda: live.driver.diff(path, path, only=["nothing"]))
        assert "nothing" in str(error)

    def test_progress_of_a_diff_is_the_rows_of_both(self, live: Live) -> None:
        """It grows to all rows that there are, and what it raises cancels."""
        _require_diff(live)
        first, _ = live.snapshot("first")
        live.add("three")
        second, _ = live.snapshot("second")
        reports = Reports()
        live.driver.diff(first, second, progress=reports)
        assert reports == sorted(reports)
        assert reports[-1] == (9, 9)
        before = contents_of(live.folder)
        with pytest.raises(CancelledError):
            live.driver.diff(first, second, progress=cancel)
        assert contents_of(live.folder) == before
        live.add("four")

    def test_a_backup_that_is_not_whole_is_not_compared(self, live: Live) -> None:
        """On whichever side it is, it is an error that quotes no row."""
        _require_diff(live)
        (whole, _), (cut, size) = live.snapshot("whole"), live.snapshot("cut")
        os.truncate(cut, size.size_bytes // 2)
        for pair in ((whole, cut), (cut, whole)):
            live.refused(InvalidBackupError, partial(live.driver.diff, *pair))


def _require_diff(live: Live) -> None:
    if type(live.driver).diff is Driver.diff:
        pytest.skip(f"{type(live.driver).__name__} has no method diff")
