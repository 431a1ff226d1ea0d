"""The command that tries migrations on a copy: rehearse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from soulsense_db.cli import commands
from soulsense_db.cli.grammar import EVERYDAY
from soulsense_db.cli.page import page_start
from soulsense_db.cli.rehearsal_junit import START, rehearsal_junit
from soulsense_db.cli.rehearsal_page import rehearsal_page
from soulsense_db.cli.rehearsal_text import print_problem, print_report
from soulsense_db.cli.report_files import require_report_file, write_report_file
from soulsense_db.cli.session import REF_HELP, Session
from soulsense_db.cli.upgrading import alembic_config
from soulsense_db.errors import OptionError

_TIMEOUT_SECONDS = 3600.0


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
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write a page for a browser."),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", help="Also write JUnit's XML, for a pipeline."),
    ] = None,
) -> dict[str, Any]:
    """Run your migrations on a copy of the data, and see what they do to it.

    The live database is not touched. Exit code 76: a migration fails or breaks something; 77: it
    loses data.
    """
    from soulsense_db.alembic import rehearse as rehearsed

    _require_files(html, junit)  # before anything is read
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
        print_report(report)
    elif session.quiet and not session.as_json:
        print_problem(report)
    for path, make in ((html, rehearsal_page), (junit, rehearsal_junit)):
        if path is not None:
            write_report_file(path, make(report))
            session.say(f"Written to {path}")
    problem = report.problem()
    session.exit_code = problem.exit_code if problem else 0
    return report.to_json()


def _require_files(html: Path | None, junit: Path | None) -> None:
    if html is not None:
        require_report_file(html, "--html", page_start("rehearse"))
    if junit is not None:
        require_report_file(junit, "--junit", START)
        if html is not None and os.path.realpath(html) == os.path.realpath(junit):
            raise OptionError("--html and --junit name the same file.", hint="Name two.", path=html)
