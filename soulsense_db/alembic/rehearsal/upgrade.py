"""Migrates a copy of a backup's data, which a restore then puts in place, or a drill looks at."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soulsense_db import fs
from soulsense_db.alembic.rehearsal import account, errors
from soulsense_db.alembic.rehearsal.child_process import Told, run_child
from soulsense_db.alembic.rehearsal.configuration import described
from soulsense_db.alembic.rehearsal.copied_database import place_of, plain, support_of
from soulsense_db.alembic.rehearsal.discovery import manager_of
from soulsense_db.alembic.rehearsal.inspection import LOCK_SECONDS
from soulsense_db.alembic.rehearsal.places import stamp_of
from soulsense_db.alembic.rehearsal.runs import Run, heads_after, heads_before, not_saved, runs_of
from soulsense_db.drivers import Findings, RehearsalSupport
from soulsense_db.errors import InvalidBackupError
from soulsense_db.manager import BackupManager
from soulsense_db.operations import (
    LiveDatabase,
    Reference,
    RestoreReport,
    ScratchCopy,
    Upgrade,
    UpgradeReport,
)
from soulsense_db.progress import Progress

if TYPE_CHECKING:
    from alembic.config import Config

DEFAULT_UPGRADE_SECONDS = 3600.0
"""After how long the migrations of a copy are ended, unless it is said otherwise."""

_VERSION_TABLE = "alembic_version"


def restore_and_upgrade(
    config: Config,
    ref: Reference,
    *,
    manager: BackupManager | None = None,
    revision: str = "head",
    timeout: float | None = DEFAULT_UPGRADE_SECONDS,
    progress: Progress | None = None,
    trust_directory: bool = False,
) -> RestoreReport:
    """Restore an old backup, migrated to today's code; all or nothing.

    The data is copied, the application's own env.py and migrations run on the copy, in a process of
    their own, and what they made is checked. Only then it replaces the live database, as
    :meth:`~soulsense_db.BackupManager.restore` does it: with a safety backup, for
    :meth:`~soulsense_db.BackupManager.undo_restore`. At each moment the live database is what it
    was, or all of the migrated data.

    Args:
        config: Alembic's configuration, as for ``alembic.command.upgrade``. Attributes of it that
            are no plain values, such as a connection, do not reach the migrations.
        ref: The backup, as for :meth:`~soulsense_db.BackupManager.get`.
        manager: That of the database; None for the one that the configuration leads to.
        revision: Where to upgrade to.
        timeout: After how many seconds to end the migrations; None for never.
        progress: As for :meth:`~soulsense_db.BackupManager.restore`.
        trust_directory: As for :meth:`~soulsense_db.BackupManager.restore`.

    Returns:
        What was done; its ``upgrade`` tells of the migrations.

    Raises:
        RehearsalFailedError: The data does not migrate, or the migrations cannot be run here.
        InterruptedMigrationError: The backup was half migrated when it was taken.
        UnsupportedDatabaseError: The migrations write to another database as well.
        OptionError: The timeout is no time, or the revision has no name; or there are several
            databases, and no manager.
        BackupError: As for :meth:`~soulsense_db.BackupManager.restore`.

    Example:
        >>> from alembic.config import Config
        >>> from soulsense_db.alembic import restore_and_upgrade
        >>> report = restore_and_upgrade(Config("alembic.ini"), "latest", manager=manager)
        >>> report.verified, report.upgrade.problem
        (True, '')
    """
    upgrade = upgrade_to(config, revision, timeout=timeout)
    return (manager or manager_of(config, timeout)).restore(
        ref, upgrade=upgrade, progress=progress, trust_directory=trust_directory
    )


def upgrade_to(
    config: Config,
    revision: str = "head",
    *,
    timeout: float | None = DEFAULT_UPGRADE_SECONDS,
) -> Upgrade:
    """Return what migrates a copy of a backup's data to a revision.

    :meth:`~soulsense_db.BackupManager.restore` and :meth:`~soulsense_db.BackupManager.can_restore`
    take it, and :meth:`~soulsense_db.BackupManager.verify` for a drill.

    Args:
        config: As for :func:`restore_and_upgrade`.
        revision: Where to upgrade to.
        timeout: After how many seconds to end the migrations; None for never.

    Returns:
        The upgrade.

    Raises:
        OptionError: The timeout is no time, or the revision has no name.

    Example:
        >>> from alembic.config import Config
        >>> from soulsense_db.alembic import upgrade_to
        >>> check = manager.can_restore("latest", upgrade=upgrade_to(Config("alembic.ini")))
        >>> check.ok, check.upgrade.steps
        (True, ('27c6a30d7c24',))
    """
    if not revision:
        raise errors.no_revision()
    if timeout is not None and not timeout > 0:
        raise errors.no_timeout(timeout)
    return _Upgrade(described(config), revision, timeout)


@dataclass(frozen=True)
class _Upgrade:
    facts: dict[str, Any]
    revision: str
    timeout: float | None

    def __call__(
        self,
        copy: ScratchCopy,
        live: LiveDatabase,
        *,
        is_trial: bool,
        poll: Callable[[], object] | None = None,
    ) -> UpgradeReport:
        """Migrate ``copy``."""
        support = support_of(live)
        try:
            return self._run(
                support, copy, place_of(live), live.dialect, is_trial=is_trial, poll=poll
            )
        finally:
            support.discard()

    def _run(
        self,
        support: RehearsalSupport,
        copy: ScratchCopy,
        place: Path,
        dialect: str,
        *,
        is_trial: bool,
        poll: Callable[[], object] | None,
    ) -> UpgradeReport:
        started = time.monotonic()
        before = support.check(copy.path)
        support.prepare(copy.path, copy.facts)
        told = run_child(
            {
                "task": "upgrade",
                "revision": self.revision,
                "config": self.facts,
                "places": {str(place): str(copy.path)},
                "scratch": str(copy.path),
                "lock_timeout": LOCK_SECONDS,
                "dialect": dialect,
                "led": plain(support.led(copy.path)),
                "endings": support.companions.endings,
                "compares_models": False,
            },
            deadline=None if self.timeout is None else started + self.timeout,
            is_trial=is_trial,
            poll=poll,
        )
        account.require_led(told)
        runs = [run for run in runs_of(told) if run.database == str(place)]
        failure = account.failure_of(told, timeout=self.timeout, heads=copy.alembic_heads)
        if not runs:
            what = failure.what if failure else _migrates_another(told)
            raise errors.not_run(place, what)
        problem = failure.what if failure else ""
        others = tuple(
            Path(one["path"]) for one in told.of("database") if _is_written(one, support)
        )
        heads: tuple[str, ...] = ()
        columns: tuple[str, ...] = ()
        if not problem:
            problem, heads, columns = _look(support, copy, runs, before)
        steps = (one for one in told.of("begin") if one["database"] == str(place))
        return UpgradeReport(
            revision=self.revision,
            heads_before=heads_before(runs),
            alembic_heads=heads,
            steps=tuple(one["revision"] for one in steps),
            seconds=round(time.monotonic() - started, 3),
            others=others,
            problem=problem,
            new_columns=_new_columns(told, place, columns),
        )


def _migrates_another(told: Told) -> str:
    named = {str(one["database"]) for one in told.of("run") if one["database"]}
    if named:
        return f"env.py migrates {', '.join(sorted(named))}."
    return "env.py migrates no database."


def _is_written(one: dict[str, Any], support: RehearsalSupport) -> bool:
    """Whether the copy of another database, of which the child told, was written to."""
    copy = Path(one["copy"])
    logs = (Path(f"{copy}{ending}") for ending in support.companions.logs)
    has_log = any(fs.exists(log) and log.stat().st_size > 0 for log in logs)
    return has_log or stamp_of(copy, ()) != one["copy_stamp"]


def _new_columns(told: Told, live: Path, columns: Sequence[str]) -> tuple[str, ...]:
    """Return those ``columns`` that tables have now and did not have before the first step."""
    for one in told.of("names"):
        if one["database"] == str(live):
            names = set(one["names"])
            return tuple(
                column
                for column in columns
                if f"column {column}" not in names and f"table {column.rpartition('.')[0]}" in names
            )
    return ()


def _look(
    support: RehearsalSupport, copy: ScratchCopy, runs: Sequence[Run], before: Findings
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return what is wrong with the copy, the revisions that it is at, and its columns."""
    if not fs.exists(copy.path):
        return "The migration deletes its database.", (), ()
    try:
        support.settle(copy.path)
        now = support.check(copy.path)
        tables = {_VERSION_TABLE, *(run.version_table for run in runs)}
        surveyed = support.survey(copy.path, ignore=(), version_tables=tuple(tables))
        found = surveyed.alembic_heads
    except InvalidBackupError as error:
        return f"It cannot be read afterwards: {error.reason or error.cause}.", (), ()
    if problem := not_saved(runs, found):
        at = {head for run in runs for head in found.get(run.version_table, ())}
        return problem, tuple(sorted(at)), ()
    return _new_fault(before, now), heads_after(runs), surveyed.columns


def _new_fault(before: Findings, now: Findings) -> str:
    """Return what is wrong with rows and references, and was not before; empty for nothing."""
    new = [line for line in now.row_errors if line not in before.row_errors]
    if (now.broken_references or 0) > (before.broken_references or 0):
        new += [line for line in now.warnings if line not in before.warnings]
    more = f", and {len(new) - 1} more" if new[1:] else ""
    return f"After the migration, {new[0]}{more}." if new else ""
