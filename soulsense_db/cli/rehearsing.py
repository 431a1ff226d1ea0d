"""The command that tries migrations on a copy: rehearse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from soulsense_db.backup_info import display_size
from soulsense_db.cli import commands
from soulsense_db.cli.grammar import EVERYDAY
from soulsense_db.cli.output import print_table
from soulsense_db.cli.session import REF_HELP, Session
from soulsense_db.cli.upgrading import alembic_config

if TYPE_CHECKING:
    from soulsense_db.alembic import RehearsalReport

_TIMEOUT_SECONDS = 3600.0
_LINES = 10
_BREAKS = {"reference", "constraint", "integrity", "round_trip"}
_WORDS = {"error": "Fails", "loss": "Loses data", "warning": "Warning", "notice": "Note"}


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    commands.add(app, rehearse, panel=EVERYDAY, example="rehearse")


def rehearse(  # noqa: PLR0917 - Typer gives them by name
    session: Session,
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="Where to upgrade to.")
    ] = "head",
    on: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="BACKUP", help=f"Rehearse on a backup, not the live data. {REF_HELP}"
        ),
    ] = None,
    round_trip: Annotated[
        bool,
        typer.Option("--round-trip", help="Downgrade again, and see whether the data survives."),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", help="After how long to end it."),
    ] = _TIMEOUT_SECONDS,
    x_argument: Annotated[
        list[str] | None,
        typer.Option(
            "--x-argument", "-x", metavar="NAME=VALUE", help="An argument for env.py: Alembic's -x."
        ),
    ] = None,
) -> dict[str, Any]:
    """Run your migrations on a copy of the data, and see what they do to it.

    The live database is not touched. Exit code 76: a migration fails or breaks something; 77: it
    loses data.
    """
    from soulsense_db.alembic import rehearse as rehearsed

    manager = session.manager
    source = None
    if on is not None:
        source = manager.get(on)
        session.prepare_to_read(source)
    words = [word for one in x_argument or [] for word in ("-x", one)]
    config = alembic_config(session, [*words, "upgrade", revision])
    with session.progress("Copying") as progress:
        report = rehearsed(
            config,
            revision,
            manager=manager,
            on=source,
            round_trip=round_trip,
            timeout=timeout,
            progress=progress,
        )
    if session.talks:
        _show(session, report)
    problem = report.problem()
    session.exit_code = problem.exit_code if problem else 0
    return report.to_json()


def _show(session: Session, report: RehearsalReport) -> None:
    main = report.databases[0]
    what = f"the backup {report.backup}" if report.backup else f"the live database {main.path}"
    session.say(f"Rehearsed on a copy of {what}, {display_size(main.size_before)}.")
    if report.steps:
        session.say("")
        several = len({step.database for step in report.steps}) > 1
        names = ("STEP", *(("DATABASE",) if several else ()), ">TIME", ">WRITERS WAIT", "WHAT")
        print_table(names, list(_rows(report, several=several)))
    if report.findings:
        session.say("")
    for finding in report.findings:
        word = (
            "Breaks"
            if finding.kind in _BREAKS and finding.severity == "error"
            else _WORDS[finding.severity]
        )
        session.say(f"{word}: {finding.sentence}")
    if report.failure and report.output:
        session.say("")
        session.say("The last lines that it printed:")
        for line in report.output.splitlines()[-_LINES:]:
            session.say(f"  {line}")
    session.say("")
    if report.steps and report.failure is None:
        session.say(_figures(report))
    session.say(report.verdict)


def _rows(report: RehearsalReport, *, several: bool) -> Iterator[tuple[str, ...]]:
    for step in report.steps:
        name = step.revision if step.direction == "upgrade" else f"{step.revision} (down)"
        database = (step.database.name if step.database else "-",) if several else ()
        time = _seconds(step.seconds) if step.seconds is not None else "failed"
        yield (name, *database, time, _seconds(step.locked_seconds), step.message or "-")


def _figures(report: RehearsalReport) -> str:
    main = report.databases[0]
    parts = []
    if report.writers_wait_seconds is not None:
        parts.append(f"writers would wait for up to {_seconds(report.writers_wait_seconds)}")
    if main.size_after != main.size_before:
        grows = "grows" if main.size_after > main.size_before else "shrinks"
        parts.append(
            f"the database {grows} from {display_size(main.size_before)} to "
            f"{display_size(main.size_after)}"
        )
    free = f" ({display_size(report.space_free)} are free)" if report.space_free else ""
    parts.append(f"up to {display_size(report.space_needed)} of disk are needed{free}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _seconds(seconds: float | None) -> str:
    """Return a time as a person says it."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms" if seconds else "0 ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
