"""The command that opens a window: gui."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from soulsense_db.cli import session as shared
from soulsense_db.cli.session import Session
from soulsense_db.errors import DisplayError


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    shared.add(app, gui)


def gui(
    session: Session,
    dark: Annotated[bool, typer.Option("--dark", help="Light text on a dark ground.")] = False,
) -> dict[str, Any]:
    """Open the window in which backups are made, looked through and restored."""
    try:
        from soulsense_db.dialog.standalone import run
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"tkinter", "_tkinter"}:
            raise
        raise DisplayError(
            "This Python has no tkinter, so no window can be opened.",
            hint="Install it (Debian and Ubuntu: apt install python3-tk); the other commands "
            "need none.",
        ) from error
    run(session.manager, dark=dark)
    return {}
