"""The command line: ``soulsense-db``.

Results go to stdout; an error is one line and a hint on stderr, with the exit code of its class.
"""

from __future__ import annotations

import configparser
import io
import os
import sys
import unicodedata
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from soulsense_db.backup_info import BackupInfo
from soulsense_db.catalog import catalog_option
from soulsense_db.errors import BackupError
from soulsense_db.manager import DEFAULT_URL, URL_VARIABLE, BackupManager
from soulsense_db.restoring import RestoreReport
from soulsense_db.verification import Level

_PIPED_WIDTH = 10_000

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Back up, verify and restore the database of an SQLAlchemy application.",
)

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help=f"Database URL or SQLite file. Default: ${URL_VARIABLE}, else sqlalchemy.url of "
        f"./alembic.ini, else {DEFAULT_URL}.",
    ),
]
Directory = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        metavar="DIR",
        help="Backup directory. Default: 'backups' beside the database.",
    ),
]
CatalogTable = Annotated[
    str | None,
    typer.Option(
        "--catalog-table",
        metavar="NAME",
        help="Name of the table with a row per backup, or 'none'. Default: backups.",
    ),
]
Ref = Annotated[str, typer.Argument(metavar="REF", help="An id, a file name, a path, or 'latest'.")]


def main() -> NoReturn:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows fewer characters
            stream.reconfigure(errors="replace")
    try:
        app()
    except BackupError as error:
        _fail(error)
    sys.exit(0)


def _fail(error: BackupError) -> NoReturn:
    _say(f"Error: {error.message}", to=sys.stderr)
    if error.hint:
        _say(f"Hint: {error.hint}", to=sys.stderr)
    sys.exit(error.exit_code)


def _print_version(wanted: bool) -> None:
    if wanted:
        _say(f"soulsense-db {version('soulsense-db')}")
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


@app.command()
def create(
    description: Annotated[
        str, typer.Argument(help="What this backup is for; its beginning is in the file name.")
    ] = "",
    url: Url = None,
    directory: Directory = None,
    catalog_table: CatalogTable = None,
) -> None:
    """Take a backup; the application may go on running."""
    info = _manager(url, directory, catalog_table).create(description)
    _say(f"Created {info.filename} ({info.size_display}, id {info.id})")
    _say(f"in {Path(info.path).parent}")


@app.command("list")
def list_(url: Url = None, directory: Directory = None, catalog_table: CatalogTable = None) -> None:
    """List the backups, newest first."""
    manager = _manager(url, directory, catalog_table)
    backups = manager.list()
    if not backups:
        _say(f"No backups in {manager.directory}")
        return
    # Piped, every backup is one line, however long.
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    Console(highlight=False, width=width).print(_table(backups))


@app.command()
def verify(
    ref: Ref,
    quick: Annotated[bool, typer.Option("--quick", help="Only size, checksum and header.")] = False,
    url: Url = None,
    directory: Directory = None,
    catalog_table: CatalogTable = None,
) -> None:
    """Check a backup by reading all of it; nothing is written."""
    level: Level = "quick" if quick else "full"
    report = _manager(url, directory, catalog_table).verify(ref, level=level)
    checksum = "checksum matches" if report.checksum else "no checksum recorded"
    _say(f"OK {report.backup.filename} ({report.level} check, {checksum})")
    for remark in report.remarks:
        _say(f"Note: {remark}")


@app.command()
def restore(
    ref: Annotated[
        str | None,
        typer.Argument(metavar="REF", help="An id, a file name, a path, or 'latest'."),
    ] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Restore nothing: keep the database as a dead migration left it."
        ),
    ] = False,
    url: Url = None,
    directory: Directory = None,
    catalog_table: CatalogTable = None,
) -> None:
    """Replace the database by a backup; the database of before is kept."""
    if accept == (ref is not None):
        raise typer.BadParameter("give either a REF or --accept", param_hint="REF")
    manager = _manager(url, directory, catalog_table)
    if ref is not None:
        _tell_restored(manager, manager.restore(ref))
    elif manager.accept_half_run_migration():
        _say(f"{manager.database} stays as it is; migrations can run again.")
    else:
        _say(f"No migration of {manager.database} died half-way: nothing to accept.")


@app.command()
def undo(url: Url = None, directory: Directory = None, catalog_table: CatalogTable = None) -> None:
    """Go back to the database of before the last restore."""
    manager = _manager(url, directory, catalog_table)
    _tell_restored(manager, manager.undo_restore())


@app.command()
def delete(
    ref: Ref,
    url: Url = None,
    directory: Directory = None,
    catalog_table: CatalogTable = None,
) -> None:
    """Delete one backup."""
    manager = _manager(url, directory, catalog_table)
    info = manager.get(ref)
    manager.delete(info)
    _say(f"Deleted {info.filename}")


def _manager(url: str | None, directory: Path | None, catalog_table: str | None) -> BackupManager:
    chosen = url or os.environ.get(URL_VARIABLE)
    if not chosen:
        options = _alembic_options()
        chosen = options.get("sqlalchemy.url") or DEFAULT_URL
        if directory is None and (named := options.get("soulsense_backup_directory")):
            directory = Path(named)
        catalog_table = catalog_table or options.get("soulsense_catalog_table")
    return BackupManager.from_url(chosen, directory, catalog=catalog_option(catalog_table))


def _alembic_options() -> dict[str, str]:
    """Return the ``[alembic]`` section of ./alembic.ini, empty without one."""
    path = Path("alembic.ini")
    parser = configparser.ConfigParser({"here": str(path.absolute().parent)})
    try:
        parser.read(path, encoding="utf-8")
        return dict(parser["alembic"]) if parser.has_section("alembic") else {}
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise BackupError(
            f"alembic.ini cannot be read ({str(error).splitlines()[0]}). Nothing was changed.",
            hint="Correct it, or name the database with --url.",
        ) from error


def _table(backups: list[BackupInfo]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("ID", "TAKEN", "SIZE", "KIND", "REVISION"):
        table.add_column(name, no_wrap=True, justify="right" if name == "SIZE" else "left")
    table.add_column("DESCRIPTION", overflow="fold")
    for info in backups:
        described = (
            Text(_printable(info.meta_problem), style="red")
            if info.meta_problem
            else Text(_printable(info.description))
        )
        table.add_row(
            info.id,
            f"{info.timestamp:%Y-%m-%d %H:%M}",
            info.size_display,
            info.kind,
            Text(_printable(",".join(info.alembic_heads)) or "-"),
            described,
        )
    return table


def _tell_restored(manager: BackupManager, report: RestoreReport) -> None:
    database = manager.database or "the database"
    _say(f"Restored {database} from {report.source.filename} ({report.source.timestamp_display}).")
    if report.safety_backup is not None:
        _say(f"The database of before is {report.safety_backup}; 'soulsense-db undo' goes back.")
    if not report.read_back:
        _say("Note: it could not be read back, for somebody else held a lock on it.")
    for path in report.moved_aside:
        _say(f"The damaged file is kept as {path}; restart programs that had it open.")


def _printable(text: str) -> str:
    """Return ``text`` on one line, without characters that would act on the terminal."""
    return "".join(
        c if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} else " " for c in text
    )


def _say(line: str, *, to: TextIO | None = None) -> None:
    """Print one line as it is: no markup, no wrapping, no control characters."""
    print(_printable(line), file=to or sys.stdout)
