"""What becomes of a database whose migration failed: it is put back, or left as it is."""

from __future__ import annotations

from soulsense_db.alembic.protection import BEFORE_FAILURE, Protection
from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import BackupError, BackupNotFoundError, InvalidBackupError
from soulsense_db.events import Failed, tell
from soulsense_db.notices import cleaning_up, reason_of
from soulsense_db.operations import RestoreReport


def leave_as_it_is(protection: Protection) -> list[str]:
    """Leave what the steps did, as the settings say; return what to tell the user, a line each."""
    assert protection.backup is not None
    protection.forget()
    first = protection.backup
    with cleaning_up(f"{first.filename} could not be pinned"):
        first = _pin_first_of_failures(protection, first)
    protection.sync_catalog()
    protection.finish()
    return [
        f"The migration of {protection.name} failed and was left as it is "
        f"(soulsense_on_failure = keep). The backup from before: {protection.backup.path}",
        *([f"Before the first failure: {first.path}"] if first != protection.backup else []),
    ]


def _pin_first_of_failures(protection: Protection, backup: BackupInfo) -> BackupInfo:
    """Pin, and return, the backup from before a row of failures.

    Those that follow are of what they left, and would push it out where a service is restarted
    all the time.
    """
    manager = protection.manager
    earlier = [info for info in manager.list() if info.kind == "pre_migration"]
    pinned = (info for info in earlier if info.pinned and info.pin_note == BEFORE_FAILURE)
    if (first := next(pinned, None)) is not None:
        return first
    manager.pin(backup, BEFORE_FAILURE)
    return backup


def let_stand_as_rolled_back(protection: Protection) -> list[str]:
    """End the protection of a database that is what it was; return what to tell the user."""
    assert protection.backup is not None
    protection.forget()
    _delete_of_earlier_try(protection, protection.backup)
    protection.sync_catalog()
    protection.finish()
    at = ", ".join(sorted(protection.runs[0].heads)) or "no revision"
    return [
        f"The migration failed, and the server rolled it back: {protection.name} is at {at}, with "
        "the tables that it had before."
    ]


def put_back(protection: Protection) -> list[str]:
    """Restore the backup from before; return what to tell the user, a line each."""
    assert protection.backup is not None
    assert protection.lock is not None
    try:
        report = protection.lock.put_back(protection.backup)
    except Exception as error:  # noqa: BLE001 - of the application too, when it connects
        protection.finish()  # the marker stays: the next upgrade refuses and says how to go on
        failed = Failed(database=protection.manager.database, operation="put_back", error=error)
        tell(protection.manager.events, failed)
        return _not_put_back(protection, protection.backup, error)
    return _was_put_back(protection, protection.backup, report)


def _not_put_back(protection: Protection, backup: BackupInfo, error: Exception) -> list[str]:
    why = error.what if isinstance(error, BackupError) else reason_of(error)
    lines = [
        f"The migration of {protection.name} failed and the database could NOT be put back: {why}",
    ]
    if isinstance(error, InvalidBackupError | BackupNotFoundError):
        return [*lines, "It may be half migrated. Restore an earlier backup."]
    return [
        *lines,
        f"It may be half migrated. The backup from before it is safe: {backup.path}",
        *([error.hint] if isinstance(error, BackupError) and error.hint else []),
        f"To put it back: {protection.command_back()}",
    ]


def _was_put_back(protection: Protection, backup: BackupInfo, report: RestoreReport) -> list[str]:
    first = protection.runs[0]
    try:
        heads = protection.manager.live.alembic_heads(first.version_table)
    except Exception as error:  # noqa: BLE001 - put back it is; the application's events may fail
        protection.finish()
        return [
            f"The migration failed. {protection.name} was put back from {backup.filename}.",
            f"Its revision could not be read ({reason_of(error)}).",
            *report.warnings,
        ]
    _delete_of_earlier_try(protection, backup)
    protection.finish()
    at = ", ".join(heads) or "no revision"
    lines = [
        *(f"{file} was attached: it was NOT put back." for file in sorted(protection.attached)),
        f"The migration failed. {protection.name} was put back, at {at}, from {backup.filename}.",
        *report.warnings,
    ]
    if heads != tuple(sorted(first.heads)):
        lines.append(f"It should be at {', '.join(sorted(first.heads)) or 'no revision'}.")
    return lines


def _delete_of_earlier_try(protection: Protection, backup: BackupInfo) -> None:
    """Delete the backup of an earlier try with the same content.

    A service that is restarted all the time would push out those of other migrations.
    """
    assert protection.lock is not None
    for info in protection.manager.list():
        if info.kind != "pre_migration":
            continue
        same = (info.alembic_heads, info.target_revision) == (
            backup.alembic_heads,
            backup.target_revision,
        )
        if same and info.created_at < backup.created_at and not info.pinned:
            is_base = bool(protection.manager.dependents(info))
            if not is_base and protection.is_unchanged(info):
                with cleaning_up(f"{info.filename} could not be deleted"):
                    protection.lock.delete(info, reason=f"{backup.filename} has the same content")
            return
