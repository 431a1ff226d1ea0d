"""A rehearsal: a copy, the migrations on it in a process of their own, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soulsense_db import fs
from soulsense_db.alembic.rehearsal import account, comparison, errors
from soulsense_db.alembic.rehearsal.child_process import ReadyChild, Told, ready_child, run_child
from soulsense_db.alembic.rehearsal.configuration import described
from soulsense_db.alembic.rehearsal.copied_database import (
    NOTHING,
    CopiedDatabase,
    reported,
    survey_of,
    without,
)
from soulsense_db.alembic.rehearsal.discovery import manager_of
from soulsense_db.alembic.rehearsal.examined_copy import Examination
from soulsense_db.alembic.rehearsal.report import (
    Failure,
    Finding,
    RehearsalReport,
    RehearsedStep,
    Severity,
)
from soulsense_db.drivers import Findings, RehearsalSupport, rehearsal_for
from soulsense_db.errors import BackupError, InvalidBackupError
from soulsense_db.manager import BackupManager
from soulsense_db.operations import Reference, ScratchCopy
from soulsense_db.progress import Progress

if TYPE_CHECKING:
    from alembic.config import Config

DEFAULT_SECONDS = 3600.0
"""After how long a rehearsal is ended, unless it is said otherwise."""

_VERSION_TABLE = "alembic_version"
_LOCK_SECONDS = 30.0
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
        if live.path is None:
            raise errors.no_file(self.manager.live.address or "The database")
        self._path = live.path
        self._support: RehearsalSupport = rehearsal_for(live.dialect)
        self._databases: list[CopiedDatabase] = []
        self._version_tables: tuple[str, ...] = (_VERSION_TABLE,)
        self._findings: list[Finding] = []

    def run(
        self, on: Reference | None, *, round_trip: bool, progress: Progress | None
    ) -> RehearsalReport:
        free = fs.free_space(self._path.parent)
        with ExitStack() as stack:
            child = stack.enter_context(ready_child())  # while the copy is made
            has_changed = stack.enter_context(self._watched(on))
            copy = stack.enter_context(self.manager.scratch_copy(on, progress=progress))
            ignore = tuple(copy.catalog_tables)
            self._begin(copy)
            told = self._run_child("upgrade", self.revision, copy, child)
            self._take_databases(told)
            heads = self._databases[0].heads_before
            failure = account.failure_of(told, timeout=self.timeout, heads=heads)
            steps = account.steps_of(told)
            self._look_at_copies(told, failure, ignore)
            self._findings += account.bypasses_of(told, self._path)
            self._findings += account.models_of(told)
            if failure is not None:
                self._add_failure(failure, on)
            elif round_trip and steps:
                steps += self._go_back(copy, heads, ignore)
            endings = self._support.companions.logs
            changed = [one for one in self._databases if not one.is_untouched(endings)]
            unchanged = not has_changed() and not changed
        if not unchanged:
            self._findings.append(account.live_changed(told))
        times = told.of("times")
        needed = self._space_needed()
        if free < needed:
            self._add(
                "space",
                "warning",
                f"The real run may need {needed:,} bytes for its backup, for growth and for the "
                f"journal; {free:,} are free.",
            )
        return RehearsalReport(
            revision=self.revision,
            backup=copy.backup.filename if copy.backup else "",
            steps=steps,
            databases=tuple(map(reported, self._databases)),
            findings=tuple(sorted(self._findings, key=lambda one: _ORDER[one.severity])),
            failure=failure,
            seconds=0.0,
            writers_wait_seconds=times[0]["longest"] if times else None,
            space_needed=needed,
            space_free=free,
            live_unchanged=unchanged,
            output="\n".join(told.output),
        )

    # Before

    def _watched(self, on: Reference | None) -> AbstractContextManager[Callable[[], bool]]:
        if on is not None and not fs.exists(self._path):  # there is nothing to touch
            return nullcontext(lambda: fs.exists(self._path))
        return self.manager.live.watched()

    def _begin(self, copy: ScratchCopy) -> None:
        self._kept = copy.path.with_name(f"{copy.path.name}{_BEFORE}")
        fs.require_space(self._kept.parent, copy.path.stat().st_size)
        fs.create_private_file(self._kept)
        fs.copy_own(copy.path, self._kept)
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
                "lock_timeout": _LOCK_SECONDS,
                "dialect": self.manager.live.dialect,
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
        for one in told.of("heads"):
            for database in self._databases:
                if str(database.path) == one["database"]:
                    database.heads_before = tuple(sorted(one["heads"]))
        for database in self._databases:
            database.before = without(database.before, self._version_tables)

    def _look_at_copies(self, told: Told, failure: Failure | None, ignore: tuple[str, ...]) -> None:
        removing = [text for one in told.of("times") for text in one["removing"]]
        for database in self._databases:
            sentence = self._look_at(database, told, failure, ignore, removing)
            if sentence:
                kind = "integrity" if fs.exists(database.copy) else "state"
                self._add(kind, "error", sentence, database)
                if self._is_main(database):
                    database.before = self._support.survey(
                        self._kept, ignore=ignore, version_tables=self._version_tables
                    )

    def _look_at(
        self,
        database: CopiedDatabase,
        told: Told,
        failure: Failure | None,
        ignore: tuple[str, ...],
        removing: list[str],
    ) -> str:
        """Add what is found in one copy; return why it cannot be looked at, if so."""
        if not fs.exists(database.copy):
            return f"The migration deletes its database {database.path}."
        try:
            self._support.settle(database.copy)
            with self._examination(
                database, ignore, compares_rows=failure is None, statements=removing
            ) as looking:
                examined = looking.run(compares_rows=failure is None)
        except InvalidBackupError as error:
            return f"{database.path} cannot be read afterwards: {error.reason or error.cause}."
        database.before, after = examined.before, examined.after
        database.after = after
        if failure is not None:
            if told.of("begin"):
                heads = after.alembic_heads.get(self._version_tables[-1], ())
                sentence = comparison.left_behind(database.before, after, heads)
                self._add("state", "warning", sentence, database)
            return ""
        if examined.found.row_errors or examined.found.warnings:
            before = self._check_of_before(database)
            self._findings += comparison.new_problems(database.path, examined.found, before)
        self._findings += comparison.changes(
            database.before,
            examined.compared,
            examined.rows,
            removing=removing,
            renames=examined.renames,
            database=database.path,
        )
        for name in after.unreadable:
            self._add("not_measured", "notice", f"Table {name} could not be looked at.", database)
        return ""

    @contextmanager
    def _examination(
        self,
        database: CopiedDatabase,
        ignore: tuple[str, ...],
        *,
        compares_rows: bool,
        statements: Sequence[str] = (),
    ) -> Iterator[Examination]:
        """Yield how to look at a copy that is settled."""
        is_main = self._is_main(database)
        with ExitStack() as stack:
            before = None
            if is_main or (compares_rows and database.before.size_bytes):
                before = stack.enter_context(self._as_before(database))
            yield Examination(
                self._support,
                database.copy,
                before,
                ignore=ignore if is_main else (),
                version_tables=self._version_tables,
                known=None if is_main else database.before,
                statements=statements,
            )

    def _is_main(self, database: CopiedDatabase) -> bool:
        return database is self._databases[0]

    def _check_of_before(self, database: CopiedDatabase) -> Findings | None:
        """Return what was wrong before the migration too: only asked for where something is."""
        try:
            with self._as_before(database) as path:
                return self._support.check(path)
        except BackupError:
            return None

    @contextmanager
    def _as_before(self, database: CopiedDatabase) -> Iterator[Path]:
        """Yield the data as it was: of other databases, as their files have it now."""
        if self._is_main(database):
            yield self._kept
            return
        path = database.copy.with_name(f"{database.copy.name}{_BEFORE}")
        fs.create_private_file(path)
        try:
            self._support.copy(database.path, path, lock_timeout=_LOCK_SECONDS)
            yield path
        finally:
            fs.remove(path)

    def _add_failure(self, failure: Failure, on: Reference | None) -> None:
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
        if any(finding.kind == "state" for finding in self._findings):
            self._add("way_back", "notice", self.facts["way_back"])
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
        ignore: tuple[str, ...],
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
        failure = account.failure_of(told, timeout=self.timeout, heads=heads)
        if failure is not None:
            self._add("round_trip", "error", f"On the way back: {failure.what}")
            return account.steps_of(told)
        for database in self._databases:
            self._support.settle(database.copy)
            with self._examination(database, ignore, compares_rows=True) as looking:
                differences = comparison.what_differs(*looking.surveyed())
            if differences:
                sentence = f"The data does not survive the way back: {'; '.join(differences[:4])}."
                self._add("round_trip", "error", sentence, database)
        return account.steps_of(told)

    def _space_needed(self) -> int:
        """Return what the real run may need: a backup, the growth, the journal of everything."""
        needed = 0
        for one in self._databases:
            before = one.before.size_bytes
            needed += 2 * before + max(0, (one.after.size_bytes if one.after else before) - before)
        return needed

    def _add(
        self, kind: str, severity: Severity, sentence: str, database: CopiedDatabase | None = None
    ) -> None:
        path = database.path if database else None
        self._findings.append(
            Finding(kind=kind, severity=severity, sentence=sentence, database=path)
        )
