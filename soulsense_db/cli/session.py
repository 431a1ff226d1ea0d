"""What every command shares: its common options, the manager they lead to, and how it answers."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from soulsense_db.backup_info import KINDS
from soulsense_db.catalog import catalog_option
from soulsense_db.cli import old_alembic, output
from soulsense_db.cli.grammar import COMMON_OPTIONS, ProgramCommand
from soulsense_db.errors import (
    BackupError,
    DatabaseFileNotFoundError,
    NotConfirmedError,
    OptionError,
    UnsupportedDatabaseError,
    without_passwords,
)
from soulsense_db.fs import storage_errors, why_not_obeyed
from soulsense_db.manager import BackupManager
from soulsense_db.notices import log_ignored
from soulsense_db.settings import (
    DEFAULT_FILES,
    DEFAULT_URL,
    STOCK_URL,
    URL_OPTION,
    URL_VARIABLE,
    Settings,
    is_ours,
    is_url,
    read_options,
)
from soulsense_db.shown_text import printable, shell_command

if TYPE_CHECKING:
    from soulsense_db.drivers import Progress
    from soulsense_db.retention import RetentionPolicy

_SCRIPT_LOCATION = "script_location"
_OF_CONFIGURATION = {".ini", ".toml", ".cfg"}

REF_HELP = (
    "A backup: its id or the beginning of it, its file name or path, 'latest', 'latest~1' (the one "
    "before), or 'revision:abc123' (the newest at that Alembic revision)."
)
Ref = Annotated[str, typer.Argument(metavar="REF", help=REF_HELP)]
RefOrChoice = Annotated[
    str | None,
    typer.Argument(
        metavar="REF",
        help=f"{REF_HELP} On a terminal, it may be left out: you choose from a list.",
    ),
]


def _session(  # noqa: PLR0917 - Typer gives them by name
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help=f"Database URL or SQLite file. Default: ${URL_VARIABLE}, else sqlalchemy.url in "
            f"the configuration, else {DEFAULT_URL}.",
            rich_help_panel=COMMON_OPTIONS,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="alembic.ini or pyproject.toml with soulsense_ options. Default: both, in the "
            "current directory.",
            rich_help_panel=COMMON_OPTIONS,
        ),
    ] = None,
    directory: Annotated[
        str | None,
        typer.Option(
            "--directory",
            metavar="DIR",
            help="Backup directory. Default: 'backups' beside the database.",
            rich_help_panel=COMMON_OPTIONS,
        ),
    ] = None,
    catalog_table: Annotated[
        str | None,
        typer.Option(
            "--catalog-table",
            metavar="NAME",
            help="Table that lists the backups, or 'none'. Default: backups.",
            rich_help_panel=COMMON_OPTIONS,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            output.WANTS_JSON,
            help="Print one JSON object and nothing else, also for errors.",
            rich_help_panel=COMMON_OPTIONS,
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=COMMON_OPTIONS),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Do not ask for confirmation.", rich_help_panel=COMMON_OPTIONS
        ),
    ] = False,
) -> Session:
    """Declare the options that every command takes."""
    if directory is not None and not directory.strip():  # a variable that is not set, say
        raise OptionError("--directory is empty.", hint="Name a directory.")
    if url is not None and not url.strip():  # an unset variable: another database is not meant
        raise OptionError("--url is empty.", hint="Name a database, or leave the option out.")
    output.show_warnings(shown=not quiet)
    folder = Path(directory) if directory else None
    return Session(url, config, folder, catalog_table, as_json, quiet, yes)


@dataclass
class Session:
    """One call of the program."""

    url: str | None
    config: Path | None
    directory: Path | None
    catalog_table: str | None
    as_json: bool
    quiet: bool
    yes: bool
    exit_code: int = 0

    @cached_property
    def manager(self) -> BackupManager:
        """The manager that options, environment and configuration lead to."""
        if self.url and without_passwords(self.url) != self.url:
            output.warn(
                "Other users of this machine can see the password in --url in its list of "
                f"processes. Put the URL into {URL_VARIABLE} or a configuration file."
            )
        if self.url and _is_configuration(Path(self.url)):
            raise OptionError(
                f"--url is {self.url}, which is a configuration file, not an SQLite database.",
                hint=f"To use the database that it names: --config {shell_command(self.url)}",
            )
        url = self.url or os.environ.get(URL_VARIABLE) or self._configured_url
        catalog = self.settings.catalog
        if self.catalog_table:
            catalog = catalog_option(self.catalog_table)
        manager = BackupManager.from_url(
            url or DEFAULT_URL, self.directory or self.settings.directory, catalog=catalog
        )
        if manager.database is None:
            raise UnsupportedDatabaseError(
                f"{without_passwords(str(url))} is a database in memory, which only the program "
                "that created it can reach.",
                hint="Name a database file, or create the backup in the program that has it open.",
            )
        return manager

    @cached_property
    def found_manager(self) -> BackupManager:
        """The same, of a database that is there, or of which at least backups are.

        Raises :class:`DatabaseFileNotFoundError`: that a wrong name has no backups is no answer.
        """
        self.require_database_or_backups()
        return self.manager

    def require_database_or_backups(self, *, warns: bool = True) -> None:
        """Raise :class:`DatabaseFileNotFoundError` where there is neither; errors of the directory.

        ``warns``: of a database that is missing, where its backups are there.
        """
        manager = self.manager
        try:
            manager.live.require()
            return
        except DatabaseFileNotFoundError as error:
            missing = error
        except BackupError as error:  # a directory of others, say: its backups may be elsewhere
            log_ignored("Whether the database is there is not known", error)
            return
        if manager.list():
            if warns:
                output.warn(
                    f"The database is missing: {manager.database}. To get it back: "
                    f"{self.command('restore', 'latest')}"
                )
            return
        hint = f"Name the database: --url, {URL_VARIABLE}, or {URL_OPTION} in alembic.ini."
        if others := len(manager.others()):
            hint = (
                f"{others} backup(s) there belong to other databases. To use one, import it. {hint}"
            )
        raise DatabaseFileNotFoundError(
            f"{missing.cause}. There are no backups of it in {manager.directory} either.",
            hint=hint,
            path=manager.database,
        ) from missing

    @cached_property
    def settings(self) -> Settings:
        """The ``soulsense_`` options of the configuration."""
        settings = Settings.of(self._read(is_ours))
        text = old_alembic.warning(
            protects=settings.protects,
            script_location=lambda: self._read(_is_script_location).get(_SCRIPT_LOCATION),
        )
        if text:
            output.warn(text)
        return settings

    @cached_property
    def retention(self) -> RetentionPolicy | None:
        """The policy of the configuration, if the database is the configuration's as well.

        A file that lies in the current directory may be another project's: what it says of a
        database that ``--url`` names must not remove backups.
        """
        policy = self.settings.retention
        if policy is None or self.url is None or self.config is not None:
            return policy
        output.warn(
            "The retention policy in the current directory's configuration is not applied to the "
            "database that --url names. To apply it, add --config FILE."
        )
        return None

    @property
    def _configured_url(self) -> str | None:
        return self._read(is_url).get(URL_OPTION)

    def _read(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        paths = self._found_files if self.config is None else (self.config,)
        found: dict[str, str] = {}
        for path in paths:
            options = read_options(path, wanted)
            if options.get(URL_OPTION) == STOCK_URL:  # it takes the place of no real one
                del options[URL_OPTION]
            found |= options
        return found

    @cached_property
    def _found_files(self) -> tuple[Path, ...]:
        """The configuration files of the current directory that nobody else can write."""
        found = []
        for path in map(Path, DEFAULT_FILES):
            with storage_errors("read", path):
                if not path.exists():
                    continue
                reason = why_not_obeyed(path)
            if not reason:
                found.append(path)
                continue
            output.warn(
                f"./{path} {reason} and was not read. To read it anyway, add --config {path}"
            )
        return tuple(found)

    def command(self, *words: str) -> str:
        """Return a command of this program to copy, about the same database and directory."""
        given = {"--config": self.config, "--url": self.url, "--directory": self.directory}
        place = [word for name, value in given.items() if value for word in (name, value)]
        return without_passwords(shell_command("soulsense-db", *words, *place))

    def say(self, line: str) -> None:
        """Print a line for a person, unless nobody wants it."""
        if not (self.quiet or self.as_json):
            output.say(line)

    @property
    def talks(self) -> bool:
        """Whether a person reads what is printed."""
        return not (self.quiet or self.as_json)

    def progress(self, label: str) -> AbstractContextManager[Progress | None]:
        """Show a progress bar for the block, where there is a terminal."""
        return output.progress_bar(label, shown=self.talks)

    def confirm(
        self, question: str, *, hint: str = "To go ahead without a question, add --yes."
    ) -> None:
        """Go on only after a yes; raises :class:`NotConfirmedError`.

        ``hint``: what to do where there is nobody to ask.
        """
        if self.yes:
            return
        if self.as_json or not sys.stdin.isatty():
            raise NotConfirmedError(
                "This command asks for confirmation, and there is no terminal to ask on.",
                hint=hint,
            )
        try:
            confirmed = typer.confirm(printable(question), err=True)
        except typer.Abort as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            confirmed = False  # the end of what is typed
        if not confirmed:
            raise NotConfirmedError("Not confirmed.")


def _is_configuration(path: Path) -> bool:
    """Whether ``path`` is a text file with the name of a configuration file."""
    if path.suffix.lower() not in _OF_CONFIGURATION or not path.is_file():
        return False
    with storage_errors("read", path), path.open("rb") as file:
        return b"\0" not in file.read(100)


def _is_script_location(name: str) -> bool:
    return name == _SCRIPT_LOCATION


def known_kinds(kinds: list[str]) -> list[str]:
    """Return ``kinds``; one that does not exist is a usage error."""
    for kind in kinds:
        if kind not in KINDS:
            raise typer.BadParameter(
                f"{kind!r} is not a kind of backup. The kinds are: {', '.join(KINDS)}",
                param_hint="--kind",
            )
    return kinds


Command = Callable[..., dict[str, Any]]
"""Takes a :class:`Session` and its own parameters; returns the ``result`` of ``--json``."""


def add(
    app: typer.Typer,
    command: Command,
    name: str | None = None,
    *,
    panel: str,
    example: str,
    **groups: Callable[..., Any],
) -> None:
    """Make ``command`` one of the program's.

    ``panel``: the group in the program's help; ``example``: one call, for the command's own.
    ``groups``: for a parameter of the command, a function whose own parameters are options of the
    program, and which makes the parameter's value of them. Every command has ``session``.
    """
    name = name or command.__name__
    groups = {**groups, "session": _session}
    own = {p.name: p for p in _parameters(command) if p.name not in groups}
    declared = {group: {p.name: p for p in _parameters(of)} for group, of in groups.items()}

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        made = {
            group: groups[group](**{key: arguments.pop(key) for key in parameters})
            for group, parameters in declared.items()
        }
        session: Session = made["session"]
        with output.noting_interrupts():
            result = command(**made, **arguments)
        if session.as_json:
            output.print_json(name, result)
        if session.exit_code:
            raise typer.Exit(session.exit_code)

    parameters = [*own.values(), *(p for group in declared.values() for p in group.values())]
    # Typer reads both.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    app.command(
        name,
        cls=ProgramCommand,
        help=_help_of(command),
        rich_help_panel=panel,
        epilog=f"Example: soulsense-db {example}",
    )(run)


def _help_of(command: Command) -> str:
    """Return the docstring with a line per paragraph: the terminal wraps it."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def with_common_options(callback: Callable[..., None]) -> Callable[..., None]:
    """Return ``callback`` of the program with the common options, which its commands receive."""
    own = list(_parameters(callback))

    @functools.wraps(callback)
    def run(**arguments: Any) -> None:
        callback(**{p.name: arguments[p.name] for p in own})

    parameters = [*own, *filter(None, map(_only_shown, _parameters(_session)))]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _only_shown(parameter: inspect.Parameter) -> inspect.Parameter | None:
    """Return an option for the help alone: its value comes to the command; None for no option."""
    type_, *metadata = get_args(parameter.annotation) or (parameter.annotation,)
    for position, one in enumerate(metadata):
        if isinstance(one, typer.models.OptionInfo):
            metadata[position] = shown = copy.copy(one)
            shown.callback = shown.envvar = None
            return parameter.replace(annotation=Annotated[(type_, *metadata)])
    return None


def _parameters(function: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        yield parameter.replace(
            annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY
        )
