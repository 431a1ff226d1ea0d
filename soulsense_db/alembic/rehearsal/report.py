"""What a rehearsal found, as values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from soulsense_db.alembic.errors import ACCEPT_LOSS
from soulsense_db.alembic.rehearsal.errors import failed, loses_data
from soulsense_db.errors import BackupError, DataLossError

Severity = Literal["error", "loss", "warning", "notice"]
"""How bad a finding is: the migration fails or breaks something; it loses data; a person should
look at it; it is worth knowing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedStep:
    """One revision, as it ran on the copy.

    Attributes:
        revision: Its identifier.
        message: The first line of what it says of itself.
        direction: ``upgrade`` or ``downgrade``.
        database: The database that it ran on: the live file whose copy it was.
        seconds: How long it took; None for one that did not end.
        locked_seconds: The longest time, in this step, that its connection held the lock of
            writers: so long others would wait. None where it is not known.

    Example:
        >>> report.steps[0].revision, report.steps[0].direction
        ('...', 'upgrade')
    """

    revision: str
    message: str
    direction: Literal["upgrade", "downgrade"]
    database: Path | None
    seconds: float | None
    locked_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the rehearsal did not come to its end.

    Attributes:
        revision: The step that failed; empty where none had begun.
        what: One sentence for a person.
        exception: The name of the exception's class; empty where there was none.
        message: What it says, one line.
        statement: The statement that the database refused, without the values given to it.
        traceback: Python's own account, for those who look for the cause.

    Example:
        >>> report.failure is None
        True
    """

    revision: str
    what: str
    exception: str = ""
    message: str = ""
    statement: str = ""
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRows:
    """How many rows a table had before and after; None where there was no such table.

    Attributes:
        table: Its name.
        before: Its rows before.
        after: Its rows after.

    Example:
        >>> report.databases[0].tables[0]
        TableRows(table='...', before=..., after=...)
    """

    table: str
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedDatabase:
    """One database that the migrations used.

    Attributes:
        path: The live file, whose copy was migrated; of a server, its host and the name.
        alembic_heads: Its revisions after the rehearsal, sorted.
        heads_before: Its revisions before.
        size_before: Bytes of the copy before.
        size_after: Bytes of the copy after.
        tables: Its tables, by name.

    Example:
        >>> report.databases[0].path.name
        'app.db'
    """

    path: Path
    heads_before: tuple[str, ...]
    alembic_heads: tuple[str, ...]
    size_before: int
    size_after: int
    tables: tuple[TableRows, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a person should know before the migration runs for real.

    Attributes:
        kind: What it is, one word: ``failed``, ``rows_lost``, ``rows_not_found``,
            ``keys_changed``, ``cascade``, ``table_dropped``, ``column_dropped``, ``values_lost``,
            ``values_shortened``, ``values_rounded``, ``values_changed``, ``reference``,
            ``constraint``, ``models_differ``, ``renamed``, ``state``, ``not_saved``,
            ``writers_wait``, ``no_effect``, ``space``, ``way_back``, ``bypass``, ``live_changed``,
            ``round_trip``, ``not_measured``, ``older``, ``integrity``.
        severity: How bad it is; see :data:`Severity`.
        sentence: It, in plain words.
        database: The live file that it is about.
        table: The table, if it is about one.
        column: The column, if it is about one.
        remedy: Lines of code to copy that mend it, where there are any.

    Example:
        >>> report.findings
        ()
    """

    kind: str
    severity: Severity
    sentence: str
    database: Path | None = None
    table: str = ""
    column: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalReport:
    """What migrations do to a copy of the data.

    Attributes:
        revision: Where the migrations were to go.
        backup: The file name of the backup whose data was used; empty for the live database.
        steps: The steps that began, in their order, those of a round trip included.
        databases: The databases that they used; the first is the one that is backed up.
        findings: What is worth knowing, the worst first.
        failure: Why it did not come to its end; None where it did.
        seconds: How long all of it took.
        writers_wait_seconds: The longest time that the migrations held the lock of writers, so
            that others would wait; None where it is not known. It is measured on SQLAlchemy's
            connections, from a statement that writes to the end of its transaction.
        space_needed: Bytes that the real run may need: for its safety backup, for what the
            database grows by, and for the journal of its largest transaction. On a server: for
            the backup alone.
        space_free: Bytes free where the database is; None on a server, and where the file system
            does not tell.
        live_unchanged: Whether the live database was the same, to the byte's time and SQLite's
            own counter, from before the rehearsal to its end. On a server only its roles, rights
            and settings are looked at: its rows no connection of the migrations reaches.
        output: The last lines that the migrations printed or logged, without what Alembic itself
            logs of each run.

    Example:
        >>> report.ok, report.loses_data
        (True, False)
    """

    revision: str
    backup: str
    steps: tuple[RehearsedStep, ...]
    databases: tuple[RehearsedDatabase, ...]
    findings: tuple[Finding, ...]
    failure: Failure | None
    seconds: float
    writers_wait_seconds: float | None
    space_needed: int
    space_free: int | None
    live_unchanged: bool
    output: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the real run."""
        return self.problem() is None

    @property
    def loses_data(self) -> bool:
        """Whether rows, values or parts of values are gone afterwards."""
        return any(finding.severity == "loss" for finding in self.findings)

    @property
    def error(self) -> str:
        """Why it failed, one sentence; empty where it did not."""
        return self.failure.what if self.failure else ""

    def problem(self) -> BackupError | None:
        """Return the error that says what speaks against the real run, None if nothing does.

        Returns:
            A :class:`~soulsense_db.errors.RehearsalFailedError`, or a
            :class:`~soulsense_db.errors.DataLossError`.

        Example:
            >>> report.problem() is None
            True
        """
        errors = [one.sentence for one in self.findings if one.severity == "error"]
        if errors:
            return failed(errors)
        losses = [one.sentence for one in self.findings if one.severity == "loss"]
        return loses_data(losses) if losses else None

    def require_ok(self) -> None:
        """Raise what speaks against the real run.

        Raises:
            RehearsalFailedError: A step failed, or left something broken.
            DataLossError: It ends well, and data is gone.

        Example:
            >>> report.require_ok()
        """
        if problem := self.problem():
            raise problem

    @property
    def verdict(self) -> str:
        """What all of it comes to, a few sentences."""
        untouched = " The live database was not touched." if self.live_unchanged else ""
        if self.failure is not None:
            what = "This migration fails." if self.steps else "No migration ran."
            return f"{what}{untouched}"
        problem = self.problem()
        if self._has("not_saved"):
            return f"This migration runs, and env.py does not save what it does.{untouched}"
        if isinstance(problem, DataLossError):
            return f"This migration runs to its end and loses data.{untouched}"
        if problem is not None:
            what = " and breaks something"
            if self.loses_data:
                what = ", breaks something and loses data"
            return f"This migration runs to its end{what}.{untouched}"
        if not self.steps:
            return "There is nothing to migrate: the database is there already."
        sentence = "This migration runs to its end, and no rows or values are lost."
        if self.has_gaps:
            sentence = (
                "This migration runs to its end. No loss of rows or values was found, but not all "
                "of them could be compared."
            )
        elif self._has("values_changed"):
            sentence += " Values changed: see the notes."
        is_back = any(step.direction == "downgrade" for step in self.steps)
        if is_back and not self.has_gaps:
            sentence += " After the way back, all data is as it was."
        warnings = sum(1 for _ in self.of_severity("warning"))
        if warnings:
            sentence += f" Read the warning{'s' * (warnings > 1)} first."
        return sentence

    @property
    def acceptance(self) -> str:
        """How to go on where a loss is meant, a sentence; empty where there is nothing to accept.

        Example:
            >>> report.acceptance
            ''
        """
        if not isinstance(self.problem(), DataLossError):
            return ""
        return (
            "If the loss is meant, run the upgrade; with soulsense_rehearse = true: "
            f"alembic -x {ACCEPT_LOSS}=1 upgrade {self.revision}"
        )

    def _has(self, kind: str) -> bool:
        return any(finding.kind == kind for finding in self.findings)

    @property
    def has_gaps(self) -> bool:
        """Whether something could not be compared, or looked at; the findings say what.

        Example:
            >>> report.has_gaps
            False
        """
        return self._has("not_measured")

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values, as ``--json`` prints them.

        Returns:
            A dictionary that :func:`json.dumps` takes.

        Example:
            >>> report.to_json()["ok"]
            True
        """
        found = _plain(asdict(self))
        assert isinstance(found, dict)
        return found | {
            "ok": self.ok,
            "loses_data": self.loses_data,
            "verdict": self.verdict,
            "exit_code": problem.exit_code if (problem := self.problem()) else 0,
        }

    def of_severity(self, *severities: Severity) -> Iterator[Finding]:
        """Yield the findings of these severities.

        Args:
            severities: Some of :data:`Severity`.

        Yields:
            The findings, in their order.

        Example:
            >>> list(report.of_severity("error", "loss"))
            []
        """
        return (one for one in self.findings if one.severity in severities)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
