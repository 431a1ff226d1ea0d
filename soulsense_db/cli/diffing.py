"""The command diff: what differs between a backup and the live database, or two backups."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from soulsense_db.backup_info import BackupInfo
from soulsense_db.cli import commands
from soulsense_db.cli.choosing import chosen
from soulsense_db.cli.diff_json import diff_json
from soulsense_db.cli.diff_page import require_page_file, write_page
from soulsense_db.cli.diff_text import print_diff
from soulsense_db.cli.grammar import EVERYDAY
from soulsense_db.cli.output import age_of, print_facts
from soulsense_db.cli.session import RefOrChoice, Session
from soulsense_db.drivers import DiffReport

_MOST_ROWS = 1000


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    commands.add(app, diff, panel=EVERYDAY, example="diff latest --rows 3")


def diff(  # noqa: PLR0917 - Typer gives them by name
    session: Session,
    ref: RefOrChoice = None,
    ref2: Annotated[
        str | None,
        typer.Argument(metavar="REF2", help="A later backup. Default: the live database."),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="NAME", help="Only this table; may be repeated."),
    ] = None,
    rows: Annotated[
        int,
        typer.Option(
            "--rows",
            metavar="N",
            min=0,
            max=_MOST_ROWS,
            help="Show up to N rows of each kind and table, side by side.",
        ),
    ] = 0,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write a page for a browser."),
    ] = None,
) -> dict[str, Any]:
    """Show what differs from a backup to the database, or from one backup to another.

    "Added" is what only the second one has: the database, or REF2. Nothing is changed. The values
    of --rows are data of your users: think of who can read the output.
    """
    if html is not None:  # before anything is read
        require_page_file(html)
    first = chosen(session, ref, "Compare", warns=False)
    second = None if ref2 is None else session.manager.get(ref2)
    for info in (first, second):
        if info is not None:
            session.prepare_to_read(info)
    with session.progress("Comparing"):
        report = session.manager.diff(first, second, tables=table or (), rows=rows)
    if session.talks:
        _print_sides(session, first, second, report)
        print_diff(report)
    if html is not None:
        write_page(html, first, second, session.manager.live.name, report)
        session.say(f"Written to {html}")
    return diff_json(first, second, report)


def _print_sides(
    session: Session, first: BackupInfo, second: BackupInfo | None, report: DiffReport
) -> None:
    """Say what is compared, and in which direction."""
    live = f"{session.manager.live.name}, the live database"
    after = live if second is None else _told(second)
    heads = (report.alembic_heads_before, report.alembic_heads_after)
    before, after = (
        f"{text}, revision {', '.join(found)}" if found else text
        for text, found in zip((_told(first), after), heads, strict=True)
    )
    print_facts([("before", before), ("after", after)])


def _told(info: BackupInfo) -> str:
    return f"{info.filename}, taken {info.timestamp_display} ({age_of(info.created_at)} ago)"
