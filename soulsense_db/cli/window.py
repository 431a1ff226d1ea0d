"""The command that opens a window: gui."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from soulsense_db.cli import commands
from soulsense_db.cli.grammar import WINDOW
from soulsense_db.cli.session import Session
from soulsense_db.errors import DisplayError


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    commands.add(app, gui, panel=WINDOW, example="gui --dark")


def gui(
    session: Session,
    dark: Annotated[bool, typer.Option("--dark", help="Light text on a dark background.")] = False,
) -> dict[str, Any]:
    """Open a window to create, browse and restore backups."""
    try:
        from soulsense_db.dialog.standalone import run
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"tkinter", "_tkinter"}:
            raise
        raise DisplayError(
            "This Python has no tkinter, so no window can be opened.",
            hint="Install it (Debian and Ubuntu: apt install python3-tk). The other commands work "
            "without it.",
        ) from error
    session.may_ask_passphrase = False  # the window does
    run(session.manager, dark=dark)
    return {}
