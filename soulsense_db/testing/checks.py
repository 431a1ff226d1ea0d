"""What a driver promises of checks and comparisons."""

from __future__ import annotations

import os
from functools import partial

import pytest
import sqlalchemy as sa

from soulsense_db.drivers import CheckLevel, Findings, RowCounts
from soulsense_db.errors import EmptyBackupError, InvalidBackupError, NotADatabaseError
from soulsense_db.testing.hooks import DriverHooks
from soulsense_db.testing.live import (
    FIRST_NOTES,
    CancelledError,
    Live,
    Reports,
    accounts,
    cancel,
    contents_of,
    metadata,
    notes,
    versions,
)

LEVELS: tuple[CheckLevel, ...] = ("quick", "pages", "full")
_TEXT = b"hello\n" * 50
_FLIPS = 40


class CheckPromises(DriverHooks):
    """Which files are backups, and how they differ from the live database."""

    @pytest.mark.parametrize("level", LEVELS)
    def test_a_good_backup_passes_every_check_untouched(
        self, live: Live, level: CheckLevel
    ) -> None:
        """Checking reads only: no byte, no time, and no file beside the backup is changed."""
        path, _ = live.snapshot()
        before = contents_of(live.folder)
        assert live.driver.check(path, level=level) == Findings()
        assert contents_of(live.folder) == before

    @pytest.mark.parametrize("level", LEVELS)
    @pytest.mark.parametrize(
        ("contents", "expected"),
        [(b"", EmptyBackupError), (b"x", NotADatabaseError), (_TEXT, NotADatabaseError)],
        ids=["empty", "one byte", "text"],
    )
    def test_other_files_pass_no_check(
        self, live: Live, level: CheckLevel, contents: bytes, expected: type[InvalidBackupError]
    ) -> None:
        """An empty file and another kind of file are told apart and refused, before any copy."""
        path, target = live.new_file(), live.new_file("target")
        path.write_bytes(contents)
        for error in (
            live.refused(expected, lambda: live.driver.check(path, level=level)),
            live.refused(expected, lambda: live.driver.copy_file(path, target)),
            live.refused(expected, lambda: live.driver.require_readable(path)),
        ):
            assert "Invalid backup file" in str(error)
        assert path.read_bytes() == contents

    def test_a_cut_backup_passes_no_check(self, live: Live) -> None:
        """A backup that lost its end is refused at every level, and says its name."""
        path, snapshot = live.snapshot()
        os.truncate(path, snapshot.size_bytes // 2)
        for level in LEVELS:
            error = live.refused(InvalidBackupError, partial(live.driver.check, path, level=level))
            assert path.name in str(error)

    def test_a_damaged_backup_is_found(self, live: Live) -> None:
        """What ``damage`` did to a file of the right size is found by all but the quickest look."""
        live.add(*["x" * 1000] * 200)
        path, _ = live.snapshot()
        self.damage(path)
        for level in LEVELS[1:]:
            live.refused(InvalidBackupError, partial(live.driver.check, path, level=level))
        live.refused(
            InvalidBackupError, lambda: live.driver.copy_file(path, live.new_file("target"))
        )

    def test_a_flipped_byte_is_an_error_of_the_tree_or_none(self, live: Live) -> None:
        """Wherever a byte is flipped, a check ends, in an error of the tree if in any."""
        path, snapshot = live.snapshot()
        whole = path.read_bytes()
        for offset in range(0, snapshot.size_bytes, max(1, snapshot.size_bytes // _FLIPS)):
            flipped = bytearray(whole)
            flipped[offset] ^= 0xFF
            path.write_bytes(flipped)
            try:
                live.driver.check(path, level="full")
            except InvalidBackupError:
                continue
            assert path.read_bytes() == flipped

    def test_a_check_can_be_cancelled(self, live: Live) -> None:
        """What ``poll`` raises comes out as it is, if it is asked before the check has ended."""
        path, _ = live.snapshot()

        def poll() -> None:
            raise CancelledError

        try:
            assert live.driver.check(path, level="full", poll=poll) == Findings()
        except CancelledError:
            assert live.driver.check(path, level="full") == Findings()

    # Comparisons

    def test_a_new_backup_is_identical(self, live: Live) -> None:
        """A restore of what was backed up just now would change nothing."""
        path, _ = live.snapshot()
        before = contents_of(live.folder)
        found = live.driver.compare(path, ignore=())
        assert found.identical
        assert found.alembic_heads == ()
        assert contents_of(live.folder) == before

    def test_a_comparison_counts_rows(self, live: Live) -> None:
        """Rows that a restore would bring, take away and change, and tables that are left out."""
        path, _ = live.snapshot()
        live.add("later", "and later")
        live.execute(
            sa.delete(notes).where(notes.c.body == FIRST_NOTES[1]),
            sa.update(accounts).values(amount=5),
        )
        versions.create(live.engine)
        copy, _ = live.snapshot("copy")
        for found in (
            live.driver.compare(path, ignore=()),
            live.driver.compare_copy(copy, path, ignore=()),
        ):
            assert not found.same_schema
            changed, rows = found.tables
            assert (changed.table, changed.gained, changed.lost, changed.changed) == (
                *("soulsense_accounts", 0, 0),
                2,
            )
            assert rows.table == "soulsense_notes"
            assert rows.changed is not None
            assert rows.gained + rows.changed == 1
            assert rows.lost + rows.changed == 2
        tables = {"soulsense_notes", "soulsense_accounts", "alembic_version"}
        assert live.driver.compare(path, ignore=tables).identical

    def test_progress_of_a_comparison_is_the_rows_of_both(self, live: Live) -> None:
        """Rows read grow to all that there are, in the backup and in the live database."""
        path, _ = live.snapshot()
        live.add("later")
        reports = Reports()
        found = live.driver.compare(path, ignore=(), progress=reports)
        assert reports == sorted(reports)
        assert reports[-1] == (9, 9)
        assert found == live.driver.compare(path, ignore=())

    def test_a_cancelled_comparison_leaves_the_database_usable(self, live: Live) -> None:
        """Nothing stays locked or open after a comparison that was cancelled."""
        path, _ = live.snapshot()
        with pytest.raises(CancelledError):
            live.driver.compare(path, ignore=(), progress=cancel)
        live.add("three")
        assert live.bodies() == [*FIRST_NOTES, "three"]

    def test_rows_are_counted_on_both_sides(self, live: Live) -> None:
        """Each table has its numbers of rows, None where it is not there; some are left out."""
        path, _ = live.snapshot()
        live.add("later")
        versions.create(live.engine)
        rows = RowCounts(table="soulsense_notes", backup=2, live=3)
        new = RowCounts(table="alembic_version", backup=None, live=0)
        before = contents_of(live.folder)
        ignored = {"soulsense_accounts"}
        assert live.driver.row_counts(path, ignore=ignored) == (new, rows)
        assert live.driver.row_counts(path, ignore={"soulsense_notes", *ignored}) == (new,)
        assert contents_of(live.folder) == before
        metadata.drop_all(live.engine)
        gone = RowCounts(table="soulsense_notes", backup=2, live=None)
        ignored = {"soulsense_accounts", "alembic_version"}
        assert live.driver.row_counts(path, ignore=ignored) == (gone,)

    @pytest.mark.parametrize("contents", [b"", _TEXT], ids=["empty", "text"])
    def test_rows_of_what_is_no_backup_are_not_counted(self, live: Live, contents: bytes) -> None:
        """An empty file and a text file are errors, not backups without tables."""
        path = live.new_file()
        path.write_bytes(contents)
        live.refused(InvalidBackupError, lambda: live.driver.row_counts(path, ignore=()))
