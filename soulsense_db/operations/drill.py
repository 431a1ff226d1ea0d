"""Drill a backup: restore it to an empty place, as a new machine would, and look at what came.

The live database is not touched, and neither is its table of backups: like a check that was passed,
a drill is recorded in the meta file alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo, recordable_heads
from soulsense_db.catalog import CatalogRows
from soulsense_db.drivers import Driver, Findings
from soulsense_db.errors import (
    DatabaseDamagedError,
    DrillError,
    InvalidBackupError,
    RestoreError,
    UnsupportedDatabaseError,
)
from soulsense_db.events import Events, Verified
from soulsense_db.meta_file import not_found_if_deleted, trusted_meta
from soulsense_db.notices import cleaning_up
from soulsense_db.operations.drill_checks import Check, DrillCheck, checks_of, run_checks
from soulsense_db.operations.drill_errors import (
    cannot_be_drilled,
    cannot_be_upgraded,
    difference_of,
    does_not_migrate,
    faulty_after_restore,
    more_broken_references,
    not_restored,
    other_revisions,
    other_rows,
    scratch_failed,
)
from soulsense_db.operations.drill_record import DrillRecordFile
from soulsense_db.operations.live_database import LiveDatabase
from soulsense_db.operations.new_backup import HEADS_GIVEN
from soulsense_db.operations.references import Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.restore import Restorer
from soulsense_db.operations.scratch import ScratchCopy, scratch_copy
from soulsense_db.operations.sealing import opened_row_counts
from soulsense_db.operations.stored_form import opened
from soulsense_db.operations.upgrading import Upgrade, UpgradeReport, fewer_rows
from soulsense_db.operations.verify import (
    DrillReport,
    VerificationReport,
    record_check,
    verify_opened,
)
from soulsense_db.progress import Progress


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """What is done with a restored backup besides looking at it: migrations, then checks."""

    checks: tuple[Check, ...] = ()
    upgrade: Upgrade | None = None


NOTHING_MORE = DrillPlan()

_HALF_RUN = "it was half migrated when it was taken, and was not migrated any further"
_NOT_COUNTED = "how many rows each table had was not recorded when the backup was taken"


def drill_and_record(
    repository: Repository,
    ref: Reference,
    *,
    checks: Iterable[DrillCheck] = (),
    upgrade: Upgrade | None = None,
    progress: Progress | None = None,
) -> VerificationReport:
    """Do what ``BackupManager.verify`` does with the level ``drill``."""
    plan = DrillPlan(checks_of(checks), upgrade)
    with repository.failing("verify"):
        info = repository.finder.get(ref)
        try:
            report = drill_backup(repository, info, plan=plan, progress=progress)
        except InvalidBackupError:
            record_check(
                repository,
                info,
                verified_at=None,
                drilled_at=_now(),
                drill_result="failed",
                drill_revision=None,
            )
            raise
        moment = _now()
        problem = not_migrated(report)
        recorded = record_check(
            repository,
            info,
            verified_at=moment,  # where it does not migrate, too: that is a matter of the code
            drilled_at=moment,
            drill_result="failed" if problem else "passed",
            drill_revision=None if problem else _revision_of(report),
            broken_references=_first_known(info, report),
        )
        if problem is not None:
            raise problem
        DrillRecordFile.of(repository).passed(moment)
        report = replace(report, recorded=recorded)
    repository.tell(
        Verified(
            database=repository.database,
            backup=report.backup,
            level="drill",
            warnings=report.warnings,
        )
    )
    return report


def _now() -> datetime:
    return datetime.now(UTC)


def not_migrated(report: VerificationReport) -> DrillError | None:
    """Return the error of a drill whose data does not migrate; None where it does."""
    upgrade = report.drill.upgrade if report.drill else None
    if upgrade is None or not upgrade.problem:
        return None
    return does_not_migrate(report.backup, upgrade.revision, upgrade.problem)


def _revision_of(report: VerificationReport) -> str | None:
    """Return where the drill migrated the data to."""
    upgrade = report.drill.upgrade if report.drill else None
    return None if upgrade is None else ",".join(upgrade.alembic_heads) or None


def _first_known(info: BackupInfo, report: VerificationReport) -> int | None:
    before = info.broken_references
    return report.broken_references if before is None else before


def drill_backup(
    repository: Repository,
    info: BackupInfo,
    *,
    plan: DrillPlan = NOTHING_MORE,
    progress: Progress | None = None,
) -> VerificationReport:
    """Restore ``info`` to a scratch folder, and compare what came with what is recorded.

    Then do what is in the ``plan``. That it does not migrate is in the report, for
    :func:`not_migrated`. Nothing is recorded. Raises errors as :func:`verify_backup`,
    :class:`~soulsense_db.errors.DrillError`, :class:`~soulsense_db.errors.IdentityError`, and
    :class:`~soulsense_db.errors.NotEnoughSpaceError` before anything is written.
    """
    started = time.monotonic()
    with not_found_if_deleted(Path(info.path), info):
        info = trusted_meta(info)
        fs.version_of(Path(info.path))
    # The decoded copy of one that is not plain, and what the restore writes.
    room = info.restored_size_bytes * (1 if info.is_plain else 2)
    with repository.work_folder(room, is_secret=info.form.is_encrypted) as folder:
        scratch = _scratch(repository, folder)
        try:
            with not_found_if_deleted(Path(info.path), info):
                report = _restored(scratch, info, progress)
            return _examined(
                repository, scratch.driver, report, plan, started=started, progress=progress
            )
        finally:
            with cleaning_up(f"{scratch.driver.database} could not be removed"):
                scratch.driver.discard()


def _scratch(repository: Repository, folder: Path) -> Repository:
    """Return a repository of the same backups, whose database is a new one in ``folder``."""
    driver = repository.driver.scratch(folder / f"drill{repository.driver.suffix}")
    if driver is None:
        raise cannot_be_drilled(repository.driver.dialect)
    return replace(
        repository,
        driver=driver,
        database=driver.location,
        sidecars=folder / "drill",
        rows=CatalogRows(driver, None),
        events=Events(),
        forms=replace(repository.forms, work_directory=None),
    )


def _restored(
    scratch: Repository, info: BackupInfo, progress: Progress | None
) -> VerificationReport:
    """Restore ``info`` to the database of ``scratch``, as to one that is missing."""
    version = fs.version_of(Path(info.path))
    with opened(scratch, info, progress=progress) as source:
        # Quickly: it is the copy that is looked at in full.
        report = verify_opened(
            scratch.driver, source, level="quick", version=version, progress=progress
        )
        with _blamed_on(report.backup):
            Restorer(scratch).restore(
                report.backup, verified=report, opened_before=source, progress=None
            )
    fs.version_of(Path(info.path))  # what was restored may be a copy, and the backup itself gone
    return report


@contextmanager
def _blamed_on(info: BackupInfo) -> Iterator[None]:
    """Say of a scratch database that cannot be made, or read, that the backup is no good."""
    try:
        yield
    except RestoreError as error:
        if isinstance(error.__cause__, DatabaseDamagedError):
            raise not_restored(info, error.cause) from error
        raise scratch_failed(info, error.cause) from error  # it says nothing of the backup
    except (DatabaseDamagedError, UnsupportedDatabaseError) as error:
        raise not_restored(info, error.cause) from error


def _examined(
    repository: Repository,
    driver: Driver,
    report: VerificationReport,
    plan: DrillPlan,
    *,
    started: float,
    progress: Progress | None,
) -> VerificationReport:
    """Look at the restored database of ``driver``, and do what is in the ``plan`` with it."""
    info = report.backup
    size = info.restored_size_bytes
    poll = None if progress is None else lambda: progress(size, size)  # which may cancel
    with _blamed_on_copy(info):
        examined = driver.examine(poll=poll)
    findings, counts, heads = examined.findings, examined.row_counts, examined.alembic_heads
    warnings = list(findings.row_errors + findings.warnings)
    if not report.checksum and findings.row_errors:
        raise faulty_after_restore(info, findings.row_errors[0])
    recorded = opened_row_counts(repository, info)
    if recorded is None or counts is None:
        warnings.append(_NOT_COUNTED)
    elif dict(recorded) != dict(counts):
        names = sorted(recorded.keys() | counts.keys())
        both = [(name, recorded.get(name), counts.get(name)) for name in names]
        raise other_rows(info, [difference_of(*one) for one in both if one[1] != one[2]])
    _require_references(info, findings)
    if report.checksum and not _are_the_revisions(info, heads):
        raise other_revisions(info, heads)
    upgraded = None
    with ExitStack() as stack:
        if plan.upgrade is not None and info.half_run:
            warnings.append(_HALF_RUN)
        elif plan.upgrade is not None:
            copy = stack.enter_context(_copy_to_migrate(repository, driver, info, heads))
            upgraded = _upgraded(repository, copy, plan.upgrade, poll)
            if not upgraded.problem:
                now = driver.count_rows(copy.path, poll=poll)
                upgraded = replace(upgraded, fewer_rows=fewer_rows(counts, now))
                warnings += upgraded.warnings
                if plan.checks:
                    driver = stack.enter_context(_driver_of(repository, driver, copy))
        if upgraded is None or not upgraded.problem:  # they are written for today's code
            run_checks(driver, info, plan.checks, is_migrated=upgraded is not None)
    return replace(
        report,
        level="drill",
        warnings=tuple(warnings),
        broken_references=findings.broken_references,
        drill=DrillReport(
            seconds=round(time.monotonic() - started, 3),
            tables=None if counts is None else len(counts),
            rows=None if counts is None else sum(counts.values()),
            rows_compared=recorded is not None and counts is not None,
            alembic_heads=heads,
            checks=tuple(check.name for check in plan.checks),
            upgrade=upgraded,
            on_private_server=driver.is_on_private_server,
        ),
    )


@contextmanager
def _copy_to_migrate(
    repository: Repository, driver: Driver, info: BackupInfo, heads: tuple[str, ...]
) -> Iterator[ScratchCopy]:
    """Yield what was restored; of a server, which has no file of it, a copy of the backup."""
    if driver.location is not None:
        yield ScratchCopy(
            path=driver.location, backup=info, alembic_heads=heads, facts=info.driver_facts
        )
        return
    if repository.driver.rehearsal_here() is None:
        raise cannot_be_upgraded(driver.dialect)
    with scratch_copy(repository, info) as copy:
        yield copy


@contextmanager
def _driver_of(repository: Repository, driver: Driver, copy: ScratchCopy) -> Iterator[Driver]:
    """Yield the driver of the migrated data: that of ``driver``, or of a new database."""
    if driver.location is not None:
        yield driver
        return
    migrated = repository.driver.scratch(copy.path)
    assert migrated is not None, "a backup is drilled that can be"
    try:
        migrated.rebuild(copy.path, facts=copy.facts, stamp="")
        yield migrated
    finally:
        with cleaning_up(f"{migrated.database} could not be removed"):
            migrated.discard()


def _upgraded(
    repository: Repository,
    copy: ScratchCopy,
    upgrade: Upgrade,
    poll: Callable[[], object] | None,
) -> UpgradeReport:
    """Migrate what was restored. What it writes to other databases goes to copies of them."""
    assert copy.backup is not None
    with _blamed_on_copy(copy.backup):
        return upgrade(copy, LiveDatabase(repository.driver), is_trial=True, poll=poll)


@contextmanager
def _blamed_on_copy(info: BackupInfo) -> Iterator[None]:
    try:
        yield
    except DrillError:
        raise
    except InvalidBackupError as error:
        raise not_restored(info, error.reason or error.cause) from error


def _require_references(info: BackupInfo, findings: Findings) -> None:
    """Raise for broken references that were not there when they were first counted."""
    before, now = info.broken_references, findings.broken_references
    if before is not None and now is not None and now > before:
        raise more_broken_references(info, now, findings.warnings)


def _are_the_revisions(info: BackupInfo, found: tuple[str, ...]) -> bool:
    if set(recordable_heads(found)) == set(info.alembic_heads):
        return True
    # Of a version table that has another name, or of one of several. Earlier versions did not note
    # that.
    return HEADS_GIVEN in info.driver_facts or info.kind == "pre_migration"
