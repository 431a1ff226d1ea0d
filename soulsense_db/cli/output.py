"""What the program prints: lines, tables, progress bars, questions, JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from soulsense_db.backup_info import BackupInfo, display_size, moments_of
from soulsense_db.errors import BackupError, Command, NotConfirmedError, without_passwords
from soulsense_db.health import display_age
from soulsense_db.shown_text import logger_of, printable

if TYPE_CHECKING:
    from soulsense_db.drivers import Progress

WANTS_JSON = "--json"
SHORT_ID = 8
"""How much of an id a person has to read."""
FORMAT = 1
"""Version of the JSON objects; a change that could break a reader makes it greater."""

_log = logger_of("soulsense_db")
_PIPED_WIDTH = 10_000
_WIDEST = 16
_STYLES = {"FAILED": "red", "CRITICAL": "bold red", "WARNING": "yellow", "OK": "green"}
_USAGE_ERROR = 2
# What some errors of the tree tell besides.
_MORE = ("path", "reason", "candidates", "backup")


class OutputError(Exception):
    """What the program has to say cannot be written; ``args``: why."""


def say(line: str, *, to: TextIO | None = None) -> None:
    """Print one line as it is: no markup, no wrapping, no control characters."""
    _put(printable(line), to or sys.stdout)


@contextmanager
def noting_interrupts() -> Iterator[None]:
    """Remember of an interrupt of the block what had been done by then."""
    try:
        yield
    except KeyboardInterrupt as error:
        done_before_interrupt.extend(getattr(error, "__notes__", ()))
        raise


def choose_json() -> None:
    """Note that a file or the environment asks for JSON, as --json does."""
    global _json_is_chosen  # noqa: PLW0603 - one per process, as its output
    _json_is_chosen = True


def json_is_chosen() -> bool:
    """Whether JSON is asked for, by whatever asks for it."""
    return _json_is_chosen


_json_is_chosen = False
done_before_interrupt: list[str] = []
"""What was done when the command was interrupted, a sentence each."""


def show_warnings(*, shown: bool) -> None:
    """Print what the library and :func:`warn` warn of as lines on stderr, or nowhere.

    What was done the commands say themselves, so that the log is silent of it, also where the
    application that an option names has set up its logging.
    """
    _log.setLevel(logging.WARNING)
    _log.propagate = False  # else it would say our warnings once more
    _log.handlers = [_Lines() if shown else logging.NullHandler()]


def warn(text: str) -> None:
    """Print a warning on stderr, unless nobody wants it."""
    _log.warning("%s", text)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"Warning: {record.getMessage()}", to=sys.stderr)


def _put(text: str, stream: TextIO) -> None:
    try:
        print(text, file=stream)
    except BrokenPipeError:
        raise
    except OSError as error:
        if stream is not sys.stderr:  # else there is nowhere left to tell; the exit code does
            raise OutputError(error.strerror) from error


def open_missing_streams() -> None:
    """Put the null device where a standard stream is closed (``>&-``): nobody listens.

    Its descriptor is taken as well, so that no file of ours gets it and what others print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - stays open
            setattr(sys, name, stream)


def silence(stream: TextIO) -> None:
    """Lead what is left in ``stream`` nowhere, so that the end of the program can flush it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def age_of(moment: datetime | None) -> str:
    """Return how long ago ``moment`` was, ``-`` for never."""
    return display_age(datetime.now(UTC) - moment) if moment else "-"


# Tables


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0, fold: bool = False
) -> None:
    """Print a table; a column whose name begins with ``>`` is right-aligned.

    On a terminal the last column takes what room is left, and is cut or, with ``fold``, folded;
    the others are cut at 16 characters. Piped, every row is one line.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    at_terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for position, column in enumerate(columns):
        name, last = column.lstrip(">"), position == len(columns) - 1
        widest = max([len(name), *(len(printable(row[position])) for row in rows)])
        table.add_column(
            name,
            justify="right" if column.startswith(">") else "left",
            width=min(widest, _WIDEST if at_terminal else widest) if not last else None,
            no_wrap=not last,  # Rich narrows only columns that may be wrapped
            overflow="fold" if last and fold else "ellipsis",
        )
    for row in rows:
        cells = [Text(printable(cell), style=_style(cell)) for cell in row]
        cells[-1].no_wrap = not fold
        table.add_row(*cells)
    console = Console(highlight=False, width=None if at_terminal else _PIPED_WIDTH)
    with console.capture() as captured:
        console.print(Padding(table, (0, 0, 0, indent), expand=False))
    for line in captured.get().splitlines():
        _put(line.rstrip(), sys.stdout)


def _style(cell: str) -> str:
    """Colour the few words that somebody looks for."""
    return _STYLES.get(cell, "")


# Progress


@contextmanager
def progress_bar(label: str, *, shown: bool) -> Iterator[Progress | None]:
    """Show a bar with speed and time left on the terminal while the block runs."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as RichProgress

    label_and_bar = (TextColumn("{task.description}"), BarColumn(bar_width=20))
    measured = (TextColumn("{task.fields[amount]}"), TransferSpeedColumn(), TimeRemainingColumn())
    with RichProgress(*label_and_bar, console=Console(stderr=True), transient=True) as bar:
        # It pulses until somebody knows how much there is to do.
        task = bar.add_task(label, total=None, amount="")

        def show(done: int, total: int) -> None:
            if done < bar.tasks[0].completed:  # once more, from the beginning
                bar.reset(task)
            bar.columns = (*label_and_bar, *measured)
            amount = f"{display_size(done)} of {display_size(total)}"
            bar.update(task, completed=done, total=total, amount=amount)

        yield show


# JSON


def print_json(command: str, result: dict[str, Any]) -> None:
    """Print what a command found, as docs/cli.schema.json describes it."""
    _print_object({"format": FORMAT, "command": command, "ok": True, "result": result})


def print_json_error(error: Exception) -> int:
    """Print an error of the tree, or of the arguments; return its exit code."""
    if isinstance(error, BackupError):
        facts: dict[str, Any] = {
            "outcome": error.outcome,
            "commands": list(map(_command, error.remedy.commands)),
            **{name: getattr(error, name) for name in _MORE if getattr(error, name)},
        }
        name, code = type(error).__name__, error.exit_code
        return print_json_failure(name, error.message, error.hint, code, **facts)
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    return print_json_failure("UsageError", text, "See --help.", _USAGE_ERROR)


def print_json_failure(kind: str, message: str, hint: str, code: int, **more: Any) -> int:
    """Print an error as docs/cli.schema.json describes it; return ``code``."""
    described = {"type": kind, "message": message, "hint": hint, **more, "exit_code": code}
    _print_object({"format": FORMAT, "ok": False, "error": described})
    return code


def _command(command: Command) -> dict[str, str]:
    return {"action": command.action, "label": command.label, "command": command.line}


def print_error(error: BackupError) -> None:
    """Print an error of the tree on stderr."""
    declined = isinstance(error, NotConfirmedError)  # what a person chose is no error
    if declined and not error.remedy:  # who said no knows what happened
        say(error.meaning, to=sys.stderr)
        return
    say(error.message if declined else f"Error: {error.message}", to=sys.stderr)
    for line in error.remedy.lines:
        say(f"Hint: {line}", to=sys.stderr)


def backup_json(info: BackupInfo) -> dict[str, Any]:
    """Return all facts of a backup."""
    facts = asdict(info) | {"filename": info.filename, "unknown_origin": info.of_unknown_origin}
    return facts | moments_of(info)


def _print_object(found: dict[str, Any]) -> None:
    # ASCII: no character of a description can act on a terminal or break on a narrow encoding.
    _put(json.dumps(found, indent=2, default=_plain), sys.stdout)


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return without_passwords(str(value))
    return list(value)  # type: ignore[call-overload]
