"""The entry point: the program with all its commands, and what becomes of their errors."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, NoReturn

import typer

from soulsense_db.cli import backups, restoring, schedules
from soulsense_db.cli.output import WANTS_JSON, print_error, print_json_error, say
from soulsense_db.errors import BackupError

PROGRAM = "soulsense-db"
SHELLS = ("bash", "zsh", "fish", "powershell")
_INTERRUPTED = 130
_BROKEN_PIPE = 141
# What Typer raises for wrong arguments, whether it brings its own Click or not.
_WrongArguments: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="Back up, verify and restore the database of an SQLAlchemy application.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"{PROGRAM} {version(PROGRAM)}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Hold the options that come before a command."""


for room in (backups, restoring, schedules):
    room.register(app)


@app.command()
def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help=f"One of {', '.join(SHELLS)}.")],
) -> None:
    """Print what makes your shell complete commands and options: eval "$(... bash)"."""
    if shell not in SHELLS:
        raise typer.BadParameter(f"{shell!r} is none of {', '.join(SHELLS)}", param_hint="SHELL")
    # The way in which a shell asks Click for it.
    os.environ["_SOULSENSE_DB_COMPLETE"] = f"source_{shell}"
    app(prog_name=PROGRAM)


def main() -> NoReturn:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows fewer characters
            stream.reconfigure(errors="replace")
    try:
        code = _run_for_programs() if WANTS_JSON in sys.argv else _run_for_people()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has seen enough, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _BROKEN_PIPE
    sys.exit(code)


def _run_for_people() -> int:
    try:
        app(prog_name=PROGRAM)
    except BackupError as error:
        print_error(error)
        return error.exit_code
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            say("Interrupted. What was not finished has changed nothing.", to=sys.stderr)
        raise
    return 0


def _run_for_programs() -> int:
    """Run with --json: errors are on stdout as well, also those of wrong arguments."""
    try:
        return app(prog_name=PROGRAM, standalone_mode=False) or 0
    except (BackupError, _WrongArguments) as error:
        return print_json_error(error)
    except (typer.Abort, KeyboardInterrupt):
        return _INTERRUPTED
