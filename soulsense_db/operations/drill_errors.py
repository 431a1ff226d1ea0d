"""What a drill finds of a backup, and checks that cannot be made, as errors of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import DrillError, OptionError, StorageError, UnsupportedDatabaseError

_MOST_NAMED = 5
# The meta file says from now on that it failed.
_STATE = "The database was not touched."
_CHECKS_HINT = (
    'Write it as { sql = "SELECT count(*) FROM users", at-least = 1 }: sql, at most one of is, '
    "at-least and at-most, and a name if you like."
)


def cannot_be_drilled(dialect: str) -> UnsupportedDatabaseError:
    """Return the error for a dialect whose driver has no scratch database."""
    return UnsupportedDatabaseError(
        f"Backups of {dialect} cannot be drilled: its driver has no scratch database.",
        hint="Verify the backup in full, and restore it on another machine.",
    )


def cannot_be_upgraded(dialect: str) -> UnsupportedDatabaseError:
    """Return the error for a drill with migrations of a database that is no file."""
    return UnsupportedDatabaseError(
        f"Migrations cannot be run in a drill of a backup of {dialect}.",
        hint="Drill it without --upgrade. To try the migrations, restore it to a database of its "
        "own, and run them there.",
    )


def not_restored(info: BackupInfo, reason: str) -> DrillError:
    """Return the error for a backup that cannot be restored to an empty place."""
    return _failed(info, f"it cannot be restored: {reason.rstrip('.')}", reason)


def scratch_failed(info: BackupInfo, reason: str) -> StorageError:
    """Return the error for a disk that does not hold what is restored to it."""
    return StorageError(
        f"The drill of {info.filename} could not be made: {reason}.",
        hint="Check the disk, and try again. It says nothing of the backup.",
        reason=reason,
    )


def other_rows(info: BackupInfo, differing: Sequence[str]) -> DrillError:
    """Return the error for tables with other numbers of rows, a clause each."""
    named = "; ".join(differing[:_MOST_NAMED])
    more = f"; and {len(differing) - _MOST_NAMED} more" if differing[_MOST_NAMED:] else ""
    return _failed(info, f"its rows are not those of when it was taken: {named}{more}", named)


def difference_of(table: str, before: int | None, now: int | None) -> str:
    """Return how many rows a table had and has, a clause; None where there is no such table."""
    if now is None:
        return f"the table {table} is gone, with {before:,} row(s)"
    if before is None:
        return f"there was no table {table}"
    return f"{table} had {before:,} row(s) and has {now:,}"


def does_not_migrate(info: BackupInfo, revision: str, problem: str) -> DrillError:
    """Return the error for data that does not come to today's code; ``problem`` says why."""
    return DrillError(
        f"{info.filename} failed the drill: it does not migrate to {revision}: "
        f"{problem.rstrip('.')}.",
        state=_STATE,
        hint="Correct the migration, and drill again. Without it, the backup can be restored as it "
        "is.",
        path=Path(info.path),
        reason=problem,
    )


def other_revisions(info: BackupInfo, found: Sequence[str]) -> DrillError:
    """Return the error for a backup at other Alembic revisions than recorded."""
    before = ", ".join(info.alembic_heads) or "none"
    now = ", ".join(found) or "none"
    reason = f"{now} instead of {before}"
    return _failed(info, f"it is at the Alembic revision {reason}", reason)


def more_broken_references(info: BackupInfo, now: int, lines: Sequence[str]) -> DrillError:
    """Return the error for references that did not lead nowhere when they were first counted."""
    before = info.broken_references or 0
    told = "; ".join(lines[:_MOST_NAMED])
    return _failed(
        info, f"{now:,} row(s) refer to rows that do not exist, and {before:,} did: {told}", told
    )


def faulty_after_restore(info: BackupInfo, line: str) -> DrillError:
    """Return the error for faulty rows where no checksum tells that the source had them."""
    return _failed(info, f"the restored copy has faulty rows: {line}", line)


def check_failed(info: BackupInfo, check: str, reason: str, *, is_migrated: bool) -> DrillError:
    """Return the error for a check of the user's: what it is called, and what came of it."""
    migrate = "" if is_migrated else " If it is for today's tables only, drill with --upgrade."
    return DrillError(
        f"{info.filename} failed the drill: the check '{check}' failed: {reason.rstrip('.')}.",
        state=_STATE,
        hint="If the check is right, use another backup. If it is wrong, correct it and drill "
        f"again.{migrate}",
        path=Path(info.path),
        reason=reason,
        candidates=(check,),
    )


def wrong_check(number: int, what: str) -> OptionError:
    """Return the error for a check that says nothing; ``what`` is wrong: a clause."""
    return OptionError(f"Check {number} of the drill cannot be used: {what}.", hint=_CHECKS_HINT)


def wrong_function(number: int, name: str, what: str) -> OptionError:
    """Return the error for a function that says nothing of the copy; ``what``: why, a clause."""
    return OptionError(
        f"Check {number} of the drill, {name}, cannot be used: {what}.",
        hint="Write a function that raises, or returns False, if something is wrong, and else "
        "returns True or nothing.",
    )


def _failed(info: BackupInfo, what: str, reason: str) -> DrillError:
    return DrillError(
        f"{info.filename} failed the drill: {what}.",
        state=_STATE,
        hint="Use another backup.",
        path=Path(info.path),
        reason=reason,
    )
