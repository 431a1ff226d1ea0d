"""The entry point: the program with all its commands, and what becomes of their errors."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from soulsense_db.cli import (
    backups,
    commands,
    configuration,
    copying,
    diffing,
    mirroring,
    rehearsing,
    restoring,
    schedules,
    window,
)
from soulsense_db.cli.ending import code_of_interrupt, end_in_order
from soulsense_db.cli.grammar import SETTING_UP, ProgramCommand, ProgramGroup
from soulsense_db.cli.output import (
    WANTS_JSON,
    OutputError,
    done_before_interrupt,
    json_is_chosen,
    open_missing_streams,
    print_error,
    print_json_error,
    print_json_failure,
    say,
    silence,
)
from soulsense_db.errors import BackupError, without_passwords
from soulsense_db.shown_text import printable

PROGRAM = "soulsense-db"
SHELLS = ("bash", "zsh", "fish", "powershell")
_UNWRITTEN = 1
_INTERNAL = 99
_INTERRUPTED = 130
_BROKEN_PIPE = 141
# What Typer raises for wrong arguments, whether it brings its own Click or not.
_WrongArguments: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)


class _Program(ProgramGroup):
    """The commands; wrong arguments are shown as text, and a URL without its password."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _WrongArguments as error:
            lines = without_passwords(error.message).split("\n")  # type: ignore[attr-defined]
            error.message = "\n".join(map(printable, lines))  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    cls=_Program,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="Back up, verify and restore the database of an SQLAlchemy application.",
    epilog="Example: soulsense-db create 'Before the import'",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"{PROGRAM} {version(PROGRAM)}")
        raise typer.Exit


@app.callback()
@commands.with_common_options()
def _options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Hold the options that come before a command."""


for room in (
    backups,
    copying,
    diffing,
    restoring,
    rehearsing,
    schedules,
    mirroring,
    window,
    configuration,
):
    room.register(app)


@app.command(
    cls=ProgramCommand,
    rich_help_panel=SETTING_UP,
    epilog='Example: eval "$(soulsense-db completion bash)"',
)
def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help=f"One of {', '.join(SHELLS)}.")],
) -> None:
    """Print the script that makes your shell complete commands, options, ids and revisions."""
    if shell not in SHELLS:
        raise typer.BadParameter(f"{shell!r} is not one of {', '.join(SHELLS)}", param_hint="SHELL")
    # The way in which a shell asks Click for it.
    os.environ["_SOULSENSE_DB_COMPLETE"] = f"source_{shell}"
    app(prog_name=PROGRAM)


def main() -> NoReturn:
    """Run the command line and exit."""
    end_in_order()
    open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows fewer characters
            stream.reconfigure(errors="replace")
    arguments = sys.argv[1:]
    if "--" in arguments:  # behind it, --json is a word like any other
        arguments = arguments[: arguments.index("--")]
    as_json = WANTS_JSON in arguments
    try:
        code = _run_and_tell(as_json)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has seen enough, as with `| head`
        code = _BROKEN_PIPE
    except (OutputError, OSError) as error:
        say(f"Error: The output cannot be written ({error}).", to=sys.stderr)
        code = _UNWRITTEN
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            silence(stream)
    sys.exit(code)


def _run_and_tell(as_json: bool) -> int:
    try:
        return _run_for_programs() if as_json else _run_for_people()
    except (BrokenPipeError, OutputError):
        raise
    except KeyboardInterrupt:
        return _interrupted(as_json)
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None:  # of a stream: Click's, Rich's
            raise
        return _unexpected(error, as_json)


def _run_for_people() -> int:
    try:
        app(prog_name=PROGRAM)
    except BackupError as error:
        if json_is_chosen():
            return print_json_error(error)
        print_error(error)
        return error.exit_code
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            return _interrupted(as_json=False)
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _run_for_programs() -> int:
    """Run with --json: errors are on stdout as well, also those of wrong arguments."""
    try:
        code: int = app(prog_name=PROGRAM, standalone_mode=False) or 0
    except (BackupError, _WrongArguments) as error:
        return print_json_error(error)
    except typer.Abort:
        code = _INTERRUPTED
    return _interrupted(as_json=True) if code == _INTERRUPTED else code


def _interrupted(as_json: bool) -> int:
    done = done_before_interrupt or ["The interrupted operation changed nothing."]
    message = " ".join(["Interrupted.", *done])
    if as_json:
        return print_json_failure("Interrupted", message, "", code_of_interrupt())
    say(message, to=sys.stderr)
    return code_of_interrupt()


def _unexpected(error: Exception, as_json: bool) -> int:
    """Tell of an error that is none of the tree: one line for a person, not pages of code."""
    message = without_passwords(f"Internal error: {type(error).__name__}: {error}")
    hint = "Please report it, with the command that you ran. No data is known to be lost."
    if as_json:
        return print_json_failure("InternalError", message, hint, _INTERNAL)
    say(f"Error: {message}", to=sys.stderr)
    say(f"Hint: {hint}", to=sys.stderr)
    return _INTERNAL
