"""What the program prints: lines, tables, progress bars, questions, JSON."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from soulsense_db.backup_info import BackupInfo, display_size, moments_of
from soulsense_db.errors import (
    BackupError,
    Command,
    DatabaseNotNamedError,
    NotConfirmedError,
    without_passwords,
)
from soulsense_db.health import display_age
from soulsense_db.notices import WAITING
from soulsense_db.shown_text import logger_of, printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    from soulsense_db.drivers import Progress

WANTS_JSON = "--json"
SHORT_ID = 8
"""How much of an id a person has to read."""
ENCRYPTED = "(encrypted)"
"""What stands for a description that cannot be read here."""
FORMAT = 1
"""Version of the JSON objects; a change that could break a reader makes it greater."""

_log = logger_of("soulsense_db")
_GAP = "  "
_WIDEST = 16
_NARROWEST = 12
_STYLES = {"failed": "red", "CRITICAL": "bold red", "WARNING": "yellow", "OK": "green"}
_USAGE_ERROR = 2
# What some errors of the tree tell besides.
_MORE = ("path", "reason", "candidates", "backup")


class OutputError(Exception):
    """What the program has to say cannot be written; ``args``: why."""


def say(line: str, *, to: TextIO | None = None) -> None:
    """Print one line as it is: no markup, no wrapping, no control characters."""
    stream = to or sys.stdout
    if stream is sys.stderr:
        sys.stdout.flush()  # in a log that has both, it comes after what was said before
    _put(printable(line), stream)


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
    # Only a person at a terminal wonders why nothing happens.
    at_terminal = shown and sys.stderr.isatty()
    logger_of(WAITING).setLevel(logging.INFO if at_terminal else logging.WARNING)


def warn(text: str) -> None:
    """Print a warning on stderr, unless nobody wants it."""
    _log.warning("%s", text)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        prefix = "Warning: " if record.levelno >= logging.WARNING else ""
        say(f"{prefix}{record.getMessage()}", to=sys.stderr)


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


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print a name and a text in each line, whole: much of it is there to be copied."""
    widest = max(len(name) for name, _ in facts)
    for name, text in facts:
        say(f"{name:<{widest}}  {text}")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0, fold: bool = False
) -> None:
    """Print a table; a column whose name begins with ``>`` is right-aligned.

    On a terminal the last column is cut to the room that is left or, with ``fold``, wrapped
    between words. Of the others, one is cut only if the table is too wide, and never so far that
    two of its texts look alike. Piped, every row is one line, and nothing is cut.
    """
    from rich.cells import cell_len

    names = [column.lstrip(">") for column in columns]
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
    at_terminal = sys.stdout.isatty()
    if at_terminal:
        room = terminal_width() - indent - len(_GAP) * (len(widths) - 1)
        for position, column in enumerate(zip(*cells, strict=True)):
            if sum(widths) > room and position < len(widths) - 1:
                shortest = max(_WIDEST, cell_len(names[position]), _distinct_width(column))
                widths[position] = min(widths[position], shortest)
        least = max(_NARROWEST, cell_len(names[-1]))
        widths[-1] = min(widths[-1], max(room - sum(widths[:-1]), least))
    if any(names):
        _print_row(columns, names, widths, indent, style="bold")
    for row in cells:
        lines = _wrapped(row[-1], widths[-1]) if fold and at_terminal else [row[-1]]
        _print_row(columns, [*row[:-1], lines[0]], widths, indent, is_cut=not fold)
        for line in lines[1:]:
            _print_row(columns, [*[""] * (len(row) - 1), line], widths, indent)


def terminal_width() -> int:
    """Return how many columns the terminal has."""
    return shutil.get_terminal_size().columns


def _print_row(
    columns: Sequence[str],
    cells: Sequence[str],
    widths: Sequence[int],
    indent: int,
    *,
    style: str = "",
    is_cut: bool = True,
) -> None:
    from rich.cells import cell_len
    from rich.text import Text

    line = Text(" " * indent)
    for position, (column, cell, width) in enumerate(zip(columns, cells, widths, strict=True)):
        is_last = position == len(cells) - 1
        shown = _cut(cell, width) if is_cut or not is_last else cell
        padding = " " * (width - cell_len(shown))
        line.append(padding if column.startswith(">") else "")
        line.append(shown, style or _STYLES.get(cell, ""))
        line.append("" if column.startswith(">") else padding)
        line.append("" if is_last else _GAP)
    line.rstrip()
    _print_whole(line)


def _print_whole(line: Text) -> None:
    """Print a line with its colours, as long as it is."""
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(line, soft_wrap=True)
    _put(captured.get().rstrip("\n"), sys.stdout)


def _distinct_width(texts: Sequence[str]) -> int:
    """Return the least number of cells at which no two different ``texts`` look alike when cut."""
    ordered = sorted(set(texts))
    shared = max((_shared_length(*pair) for pair in pairwise(ordered)), default=0)
    longest = max(ordered, key=len, default="")
    # What is shared, the character that differs, the ellipsis; no character has over two cells.
    return (shared + 2) * (1 if longest.isascii() else 2)


def _shared_length(one: str, other: str) -> int:
    """Return how many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _cut(text: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    return f"{set_cell_size(text, width - 1).rstrip()}…"


def _wrapped(text: str, width: int) -> list[str]:
    """Return the lines of ``text``; a word longer than ``width``, such as a path, is whole."""
    from rich.cells import cell_len

    lines = [""]
    for word in text.split(" "):
        if lines[-1] and cell_len(f"{lines[-1]} {word}") > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


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
    with (
        RichProgress(*label_and_bar, console=Console(stderr=True), transient=True) as bar,
        _noted(bar),
    ):
        # It pulses until somebody knows how much there is to do.
        task = bar.add_task(label, total=None, amount="")

        def show(done: int, total: int) -> None:
            if done < bar.tasks[0].completed:  # once more, from the beginning
                bar.reset(task)
            bar.columns = (*label_and_bar, *measured)
            amount = f"{display_size(done)} of {display_size(total)}"
            bar.update(task, completed=done, total=total, amount=amount)

        yield show


_bars: list[RichProgress] = []


@contextmanager
def _noted(bar: RichProgress) -> Iterator[None]:
    _bars.append(bar)
    try:
        yield
    finally:
        _bars.remove(bar)


@contextmanager
def without_progress_bar() -> Iterator[None]:
    """Take the bar off the terminal while somebody is asked something."""
    bars = list(_bars)
    for bar in bars:
        bar.stop()
    try:
        yield
    finally:
        for bar in bars:
            bar.start()


# JSON


def print_json(command: str, result: dict[str, Any]) -> None:
    """Print what a command found, as docs/cli.schema.json describes it."""
    _print_object({"format": FORMAT, "command": command, "ok": True, "result": result})


def print_json_error(error: Exception) -> int:
    """Print an error of the tree, or of the arguments; return its exit code."""
    if isinstance(error, BackupError):
        _print_object({"format": FORMAT, "ok": False, "error": error_json(error)})
        return error.exit_code
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    return print_json_failure("UsageError", text, "See --help.", _USAGE_ERROR)


def error_json(error: BackupError) -> dict[str, Any]:
    """Return all facts of an error of the tree."""
    return {
        "type": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "outcome": error.outcome,
        "commands": list(map(_command, error.remedy.commands)),
        **{name: getattr(error, name) for name in _MORE if getattr(error, name)},
        "exit_code": error.exit_code,
    }


def print_json_failure(kind: str, message: str, hint: str, code: int) -> int:
    """Print an error as docs/cli.schema.json describes it; return ``code``."""
    described = {"type": kind, "message": message, "hint": hint, "exit_code": code}
    _print_object({"format": FORMAT, "ok": False, "error": described})
    return code


def _command(command: Command) -> dict[str, str]:
    return {"action": command.action, "label": command.label, "command": command.line}


def print_error(error: BackupError) -> None:
    """Print an error of the tree on stderr."""
    if isinstance(error, NotConfirmedError) and not error.remedy:  # what a person chose is no error
        say(error.meaning, to=sys.stderr)
        return
    say(f"Error: {error.message}", to=sys.stderr)
    if isinstance(error, DatabaseNotNamedError):
        for place in error.candidates:
            say(f"  {place}", to=sys.stderr)
    for line in error.remedy.lines:
        say(f"Hint: {line}", to=sys.stderr)


def backup_json(info: BackupInfo) -> dict[str, Any]:
    """Return all facts of a backup."""
    facts = asdict(info) | {
        "filename": info.filename,
        "form": info.form.text,
        "unknown_origin": info.of_unknown_origin,
    }
    return facts | moments_of(info)


def shown_description(info: BackupInfo) -> str:
    """Return the description, or that it is encrypted."""
    return info.description if info.sealed_description is None else ENCRYPTED


def _print_object(found: dict[str, Any]) -> None:
    # ASCII: no character of a description can act on a terminal or break on a narrow encoding.
    _put(json.dumps(found, indent=2, default=_plain), sys.stdout)


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return without_passwords(str(value))
    return list(value)  # type: ignore[call-overload]
