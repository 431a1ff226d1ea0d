"""A rehearsal: a copy, the migrations on it in a process of their own, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soulsense_db import fs
from soulsense_db.alembic.rehearsal import account, errors
from soulsense_db.alembic.rehearsal.child_process import ReadyChild, Told, ready_child, run_child
from soulsense_db.alembic.rehearsal.configuration import described
from soulsense_db.alembic.rehearsal.copied_database import (
    NOTHING,
    CopiedDatabase,
    place_of,
    plain,
    reported,
    support_of,
    survey_of,
    without,
)
from soulsense_db.alembic.rehearsal.discovery import manager_of
from soulsense_db.alembic.rehearsal.inspection import LOCK_SECONDS, Inspection
from soulsense_db.alembic.rehearsal.report import (
    Failure,
    Finding,
    RehearsalReport,
    RehearsedStep,
    Severity,
)
from soulsense_db.alembic.rehearsal.runs import heads_before, runs_of
from soulsense_db.drivers import RehearsalSupport
from soulsense_db.manager import BackupManager
from soulsense_db.operations import Reference, ScratchCopy
from soulsense_db.progress import Progress

if TYPE_CHECKING:
    from alembic.config import Config

DEFAULT_SECONDS = 3600.0
"""After how long a rehearsal is ended, unless it is said otherwise."""

_VERSION_TABLE = "alembic_version"
_BEFORE = "-before"
_ORDER: dict[Severity, int] = {"error": 0, "loss": 1, "warning": 2, "notice": 3}


def rehearse(
    config: Config,
    revision: str = "head",
    *,
    manager: BackupManager | None = None,
    on: Reference | None = None,
    round_trip: bool = False,
    timeout: float | None = DEFAULT_SECONDS,
    progress: Progress | None = None,
) -> RehearsalReport:
    """Upgrade a copy of the data, and tell what that did to it.

    The application's own env.py and migrations run, in a process of their own. Every database that
    they open is copied first, and they work on the copies. What they write elsewhere, or send over
    a network, they write and send.

    Args:
        config: Alembic's configuration, as for ``alembic.command.upgrade``. Attributes of it that
            are no plain values, such as a connection, do not reach the rehearsal.
        revision: Where to upgrade to.
        manager: That of the database; None for the one that the configuration leads to.
        on: A backup to rehearse on, as for :meth:`~soulsense_db.BackupManager.get`; None for the
            live database as it is now.
        round_trip: Whether to downgrade again, and compare the data.
        timeout: After how many seconds to end it; None for never.
        progress: Told how many bytes of how many are copied; what it raises cancels.

    Returns:
        What it did. That a migration fails, or loses data, raises nothing here;
        :meth:`RehearsalReport.require_ok` does.

    Raises:
        BackupError: The copy could not be made, as for :meth:`~soulsense_db.BackupManager.create`,
            or the database is none that can be rehearsed on.
        OptionError: The timeout is no time, or the revision has no name; or there are several
            databases, and no manager.

    Example:
        >>> from alembic.config import Config
        >>> from soulsense_db.alembic import rehearse
        >>> report = rehearse(Config("alembic.ini"), manager=manager)
        >>> report.ok, report.live_unchanged
        (True, True)
    """
    if not revision:
        raise errors.no_revision()
    if timeout is not None and not timeout > 0:
        raise errors.no_timeout(timeout)
    started = time.monotonic()
    rehearsal = _Rehearsal(
        facts=described(config),
        manager=manager or manager_of(config, timeout),
        revision=revision,
        timeout=timeout,
        deadline=None if timeout is None else started + timeout,
    )
    report = rehearsal.run(on, round_trip=round_trip, progress=progress)
    return replace(report, seconds=time.monotonic() - started)


@dataclass
class _Rehearsal:
    facts: dict[str, Any]
    manager: BackupManager
    revision: str
    timeout: float | None
    deadline: float | None

    def __post_init__(self) -> None:
        live = self.manager.live
        self._support: RehearsalSupport = support_of(live)
        self._path = place_of(live)
        self._databases: list[CopiedDatabase] = []
        self._version_tables: tuple[str, ...] = (_VERSION_TABLE,)
        self._findings: list[Finding] = []

    def run(
        self, on: Reference | None, *, round_trip: bool, progress: Progress | None
    ) -> RehearsalReport:
        # What is free on a server nobody here can tell.
        free = fs.free_space(self._path.parent) if self._support.is_file else None
        with ExitStack() as stack:
            child = stack.enter_context(ready_child())  # while the copy is made
            has_changed = stack.enter_context(self._watched(on))
            copy = stack.enter_context(self.manager.scratch_copy(on, progress=progress))
            stack.callback(self._support.discard)
            self._begin(copy)
            told = self._run_child("upgrade", self.revision, copy, child)
            account.require_led(told)
            self._take_databases(told)
            heads = self._databases[0].heads_before
            failure = account.failure_of(told, timeout=self.timeout, heads=heads)
            steps = account.steps_of(told)
            inspection = Inspection(
                self._support,
                self._databases,
                self._kept,
                version_tables=self._version_tables,
                ignore=tuple(copy.catalog_tables),
            )
            self._findings += inspection.findings(told, failure)
            self._findings += account.without_effect_of(told)
            self._findings += account.bypasses_of(told, self._path)
            self._findings += account.models_of(told)
            if failure is not None:
                self._add_failure(failure, on, dies=account.has_died(told))
            elif round_trip and steps:
                steps += self._go_back(copy, heads, inspection)
            endings = self._support.companions.logs
            changed = [one for one in self._databases if not one.is_untouched(endings)]
            unchanged = not has_changed() and not changed
        if not unchanged:
            self._findings.append(account.live_changed(told))
        times = told.of("times")
        wait = times[0]["longest"] if times else None
        self._look_at_wait(wait)
        needed = self._space_needed()
        if free is not None and free < needed:
            sentence = (
                f"The real run may need {needed:,} bytes for its backup, for growth and for the "
                f"journal; {free:,} are free."
            )
            self._add("space", "warning", sentence)
        return RehearsalReport(
            revision=self.revision,
            backup=copy.backup.filename if copy.backup else "",
            steps=steps,
            databases=tuple(map(reported, self._databases)),
            findings=tuple(sorted(self._findings, key=lambda one: _ORDER[one.severity])),
            failure=failure,
            seconds=0.0,
            writers_wait_seconds=wait,
            space_needed=needed,
            space_free=free,
            live_unchanged=unchanged,
            output="\n".join(told.output),
        )

    # Before

    def _watched(self, on: Reference | None) -> AbstractContextManager[Callable[[], bool]]:
        is_file = self._support.is_file
        if is_file and on is not None and not fs.exists(self._path):  # there is nothing to touch
            return nullcontext(lambda: fs.exists(self._path))
        return self.manager.live.watched()

    def _begin(self, copy: ScratchCopy) -> None:
        self._kept = copy.path.with_name(f"{copy.path.name}{_BEFORE}")
        fs.require_space(self._kept.parent, copy.path.stat().st_size)
        fs.create_private_file(self._kept)
        with ThreadPoolExecutor(1) as side:
            # Else the first commit of the migrations waits for it, and seems to take longer.
            flushing = side.submit(fs.sync_file, copy.path)
            fs.copy_own(copy.path, self._kept)
            flushing.result()
        self._support.prepare(copy.path, copy.facts)
        self._databases = [
            CopiedDatabase(self._path, copy.path, NOTHING, heads_before=copy.alembic_heads)
        ]

    def _run_child(
        self, task: str, revision: str, copy: ScratchCopy, child: ReadyChild | None = None
    ) -> Told:
        return run_child(
            {
                "task": task,
                "revision": revision,
                "config": self.facts,
                "places": {str(one.path): str(one.copy) for one in self._databases},
                "scratch": str(copy.path),
                "lock_timeout": LOCK_SECONDS,
                "dialect": self.manager.live.dialect,
                "led": plain(self._support.led(copy.path)),
                "endings": self._support.companions.endings,
                "compares_models": task == "upgrade" and self.revision in {"head", "heads"},
            },
            deadline=self.deadline,
            child=child,
        )

    # After

    def _take_databases(self, told: Told) -> None:
        """Note the databases that the child met, and the version tables of all."""
        for one in told.of("database"):
            before = survey_of(one["survey"]) if one["survey"] else NOTHING
            heads = tuple(sorted(before.alembic_heads.get(_VERSION_TABLE, ())))
            self._databases.append(
                CopiedDatabase(
                    Path(one["path"]),
                    Path(one["copy"]),
                    before,
                    heads_before=heads,
                    stamp=one["stamp"],
                )
            )
        tables = {_VERSION_TABLE: None} | {one["version_table"]: None for one in told.of("run")}
        self._version_tables = tuple(tables)
        for database in self._databases:
            own = [run for run in runs_of(told) if run.database == str(database.path)]
            if any(run.heads_before is not None for run in own):
                database.heads_before = heads_before(own)
            database.before = without(database.before, self._version_tables)

    def _add_failure(self, failure: Failure, on: Reference | None, *, dies: bool) -> None:
        self._add("failed", "error", failure.what)
        main = self._databases[0]
        if main.before.tables and not main.heads_before:
            which = "The backup" if on is not None else "The database"
            self._add(
                "older",
                "notice",
                f"{which} has tables and no Alembic revision: it is older than the first "
                "revision, or was never stamped.",
            )
        if any(one.kind == "state" and one.severity == "warning" for one in self._findings):
            fact = "way_back_if_it_dies" if dies else "way_back"
            self._add("way_back", "notice", self.facts[fact])
        if failure.exception and self.facts["left_out"]:
            names = ", ".join(self.facts["left_out"])
            self._add(
                "not_measured",
                "notice",
                f"Attributes of the configuration that exist in your process only were not there "
                f"in the rehearsal: {names}.",
            )

    def _go_back(
        self,
        copy: ScratchCopy,
        heads: tuple[str, ...],
        inspection: Inspection,
    ) -> tuple[RehearsedStep, ...]:
        """Downgrade again, and compare; return the steps."""
        if len(heads) > 1:
            self._add(
                "round_trip",
                "notice",
                "There was no way back to try: the data is at several revisions.",
            )
            return ()
        for database in self._databases:
            self._support.prepare(database.copy, copy.facts)
        told = self._run_child("downgrade", next(iter(heads), "base"), copy)
        account.require_led(told)
        failure = account.failure_of(told, timeout=self.timeout, heads=heads)
        if failure is not None:
            self._add("round_trip", "error", f"On the way back: {failure.what}")
            return account.steps_of(told)
        self._findings += inspection.differences()
        return account.steps_of(told)

    def _look_at_wait(self, seconds: float | None) -> None:
        if seconds and (what := self._support.given_up(seconds)):
            sentence = (
                f"The write lock is held for {seconds:.1f} s: {what}. Stop what writes to the "
                "database while the migration runs, or give it a longer timeout."
            )
            self._add("writers_wait", "warning", sentence)

    def _space_needed(self) -> int:
        """Return what the real run may need: a backup, the growth, the journal of everything.

        What is not the backup is on the server's disk, where there is one.
        """
        if not self._support.is_file:
            return sum(one.before.size_bytes for one in self._databases)
        needed = 0
        for one in self._databases:
            before = one.before.size_bytes
            needed += 2 * before + max(0, (one.after.size_bytes if one.after else before) - before)
        return needed

    def _add(self, kind: str, severity: Severity, sentence: str) -> None:
        self._findings.append(Finding(kind=kind, severity=severity, sentence=sentence))
