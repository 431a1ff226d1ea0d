"""What the migrations left in the copies: what is lost, what is broken, what was not saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from soulsense_db import fs
from soulsense_db.alembic.rehearsal import comparison
from soulsense_db.alembic.rehearsal.child_process import Told
from soulsense_db.alembic.rehearsal.copied_database import CopiedDatabase
from soulsense_db.alembic.rehearsal.examined_copy import Examination
from soulsense_db.alembic.rehearsal.half_way import left_behind
from soulsense_db.alembic.rehearsal.report import Failure, Finding, Severity
from soulsense_db.alembic.rehearsal.round_trip import what_differs
from soulsense_db.alembic.rehearsal.runs import not_saved, runs_of
from soulsense_db.drivers import Findings, RehearsalSupport
from soulsense_db.errors import BackupError, InvalidBackupError

LOCK_SECONDS = 30.0
"""How long a copy waits for somebody who writes to the database."""


@dataclass(frozen=True)
class Inspection:
    """Looks at the copies of ``databases``; the first is the one that is backed up.

    ``kept``: that one as it was before; ``ignore``: tables of ours in it.
    """

    support: RehearsalSupport
    databases: Sequence[CopiedDatabase]
    kept: Path
    version_tables: tuple[str, ...]
    ignore: tuple[str, ...]

    def findings(self, told: Told, failure: Failure | None) -> Iterator[Finding]:
        """Note in each database what is in it now, and yield what is found."""
        for database in self.databases:
            if not fs.exists(database.copy):
                sentence = f"The migration deletes its database {database.path}."
                yield _error("state", sentence, database)
                self._survey_before(database)
                continue
            try:
                yield from self._of(database, told, failure)
            except InvalidBackupError as error:
                why = error.reason or error.cause
                sentence = f"{database.path} cannot be read afterwards: {why}."
                yield _error("integrity", sentence, database)
                self._survey_before(database)

    def differences(self) -> Iterator[Finding]:
        """Yield what the way back did not bring back."""
        for database in self.databases:
            self.support.settle(database.copy)
            with self._examination(database, compares_rows=True) as looking:
                differences = what_differs(*looking.surveyed())
            if differences:
                sentence = f"The data does not survive the way back: {'; '.join(differences[:4])}."
                yield _finding("round_trip", "loss", sentence, database)

    def _of(
        self, database: CopiedDatabase, told: Told, failure: Failure | None
    ) -> Iterator[Finding]:
        removing = [text for one in told.of("times") for text in one["removing"]]
        self.support.settle(database.copy)
        with self._examination(
            database, compares_rows=failure is None, statements=removing
        ) as looking:
            examined = looking.run(compares_rows=failure is None)
        database.before, after = examined.before, examined.after
        database.after = after
        if failure is not None:
            if told.of("begin"):
                heads = after.alembic_heads.get(self.version_tables[-1], ())
                is_half_way, sentence = left_behind(
                    database.before,
                    after,
                    heads,
                    at_step=_names_at_step(told, database),
                    already_there=self.support.already_there(failure.message),
                )
                yield _finding("state", "warning" if is_half_way else "notice", sentence, database)
            return
        own = (run for run in runs_of(told) if run.database == str(database.path))
        if sentence := not_saved(own, after.alembic_heads):
            yield _error("not_saved", sentence, database)
        if examined.found.row_errors or examined.found.warnings:
            before = self._check_of_before(database)
            yield from comparison.new_problems(database.path, examined.found, before)
        yield from comparison.changes(
            database.before,
            examined.compared,
            examined.rows,
            removing=removing,
            renames=examined.renames,
            new_keys=examined.new_keys,
            remedy=self.support.keeps_children,
            database=database.path,
        )
        for name in after.unreadable:
            sentence = f"Table {name} could not be looked at."
            yield _finding("not_measured", "notice", sentence, database)

    def _survey_before(self, database: CopiedDatabase) -> None:
        """Note what was in a database of which nothing is known yet."""
        if self._is_main(database):
            database.before = self.support.survey(
                self.kept, ignore=self.ignore, version_tables=self.version_tables
            )

    @contextmanager
    def _examination(
        self,
        database: CopiedDatabase,
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
                self.support,
                database.copy,
                before,
                ignore=self.ignore if is_main else (),
                version_tables=self.version_tables,
                known=None if is_main else database.before,
                statements=statements,
            )

    def _is_main(self, database: CopiedDatabase) -> bool:
        return database is self.databases[0]

    def _check_of_before(self, database: CopiedDatabase) -> Findings | None:
        """Return what was wrong before the migration too: only asked for where something is."""
        try:
            with self._as_before(database) as path:
                return self.support.check(path)
        except BackupError:
            return None

    @contextmanager
    def _as_before(self, database: CopiedDatabase) -> Iterator[Path]:
        """Yield the data as it was: of other databases, as their files have it now."""
        if self._is_main(database):
            yield self.kept
            return
        path = database.copy.with_name(f"{database.copy.name}-before")
        fs.create_private_file(path)
        try:
            self.support.copy(database.path, path, lock_timeout=LOCK_SECONDS)
            yield path
        finally:
            fs.remove(path)


def _names_at_step(told: Told, database: CopiedDatabase) -> list[str] | None:
    """Return what was in the database when the step began that failed in it, None if not known."""
    failed = told.of("failed")
    is_there = failed and told.of("begin")[-1]["database"] == str(database.path)
    return failed[0]["names"] if is_there else None


def _error(kind: str, sentence: str, database: CopiedDatabase) -> Finding:
    return _finding(kind, "error", sentence, database)


def _finding(kind: str, severity: Severity, sentence: str, database: CopiedDatabase) -> Finding:
    return Finding(kind=kind, severity=severity, sentence=sentence, database=database.path)
