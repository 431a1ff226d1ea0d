"""What every command shares: its common options, the manager they lead to, and how it answers."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from soulsense_db.backup_info import KINDS
from soulsense_db.catalog import catalog_option
from soulsense_db.cli import defaults, old_alembic, output
from soulsense_db.cli.project_files import ProjectFiles
from soulsense_db.errors import (
    BackupError,
    DatabaseFileNotFoundError,
    NotConfirmedError,
    OptionError,
    UnsupportedDatabaseError,
    without_passwords,
)
from soulsense_db.finding import FoundDatabase, Place, find_database, places_of_the_folder
from soulsense_db.manager import BackupManager
from soulsense_db.notices import log_ignored
from soulsense_db.settings import (
    URL_VARIABLE,
    Settings,
    is_ours,
)
from soulsense_db.shown_text import printable, shell_command

if TYPE_CHECKING:
    from soulsense_db.drivers import Progress
    from soulsense_db.retention import RetentionPolicy

_PANEL = "Common options"
_SCRIPT_LOCATION = "script_location"
REF_HELP = (
    "A backup: its id or the beginning of it, file name, path, latest, latest~1 (the one before), "
    "or revision:abc123 (the newest at that Alembic revision)."
)
Ref = Annotated[str, typer.Argument(metavar="REF", help=REF_HELP)]


def _session(  # noqa: PLR0917 - Typer gives them by name
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help=f"Database URL or SQLite file. Default: ${URL_VARIABLE}, else what the current "
            "directory says; 'soulsense-db config' shows it.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="MODULE:NAME",
            help="The application's own engine, such as myapp.db:engine; or a function that "
            "returns it.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="APP",
            help="A Flask application with Flask-SQLAlchemy, named as for flask --app.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="alembic.ini or pyproject.toml with soulsense_ options. Default: both, of the "
            "current directory.",
            rich_help_panel=_PANEL,
            is_eager=True,
            callback=defaults.read_defaults,
        ),
    ] = None,
    directory: Annotated[
        str | None,
        typer.Option(
            "--directory",
            metavar="DIR",
            help="Backup directory. Default: 'backups' beside the database.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    catalog_table: Annotated[
        str | None,
        typer.Option(
            "--catalog-table",
            metavar="NAME",
            help="Name of the table with a row per backup, or 'none'. Default: backups.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            output.WANTS_JSON,
            help="Print one JSON object, errors included, and nothing else.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=_PANEL),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Do not ask.", rich_help_panel=_PANEL),
    ] = False,
) -> Session:
    """Declare the options that every command takes."""
    if directory is not None and not directory.strip():  # a variable that is not set, say
        raise OptionError("--directory is empty.", hint="Name a directory.")
    for name, value in {"url": url, "engine": engine, "app": app}.items():
        if value is not None and not value.strip():  # an unset variable: no other one is meant
            raise OptionError(
                f"--{name} is empty.", hint="Name a database, or leave the option out."
            )
    typed = [name for name in defaults.DATABASE_OPTIONS if defaults.is_typed(context, name)]
    if len(typed) > 1:
        raise typer.BadParameter("give only one of --url, --engine and --app", param_hint="--url")
    if as_json:
        output.choose_json()
    output.show_warnings(shown=not quiet)
    folder = Path(directory) if directory else None
    return Session(
        url if "url" in typed else None,
        config,
        folder,
        catalog_table,
        as_json,
        quiet,
        yes,
        engine=engine if "engine" in typed else None,
        app=app if "app" in typed else None,
        context=context,
    )


@dataclass
class Session:
    """One call of the program.

    ``url``, ``engine``, ``app``: the database, where the command line itself names it.
    """

    url: str | None
    config: Path | None
    directory: Path | None
    catalog_table: str | None
    as_json: bool
    quiet: bool
    yes: bool
    exit_code: int = 0
    engine: str | None = None
    app: str | None = None
    context: typer.Context | None = None
    _has_warned: bool = False

    @property
    def named(self) -> dict[str, str]:
        """What names the database on the command line, by the name of the option."""
        given = {name: getattr(self, name) for name in defaults.DATABASE_OPTIONS}
        return {name: value for name, value in given.items() if value}

    @cached_property
    def manager(self) -> BackupManager:
        """The manager that options, environment and configuration lead to."""
        if self.url and without_passwords(self.url) != self.url:
            output.warn(
                "Other users of this machine can see the password in --url in its list of "
                f"processes. Put the URL into {URL_VARIABLE} or a configuration file."
            )
        catalog = self.settings.catalog
        if self.catalog_table:
            catalog = catalog_option(self.catalog_table)
        engine = self.found.engine
        # An application that prints its SQL would do so in the middle of our answer.
        getattr(engine, "sync_engine", engine).echo = False
        manager = BackupManager(engine, self.backup_directory, catalog=catalog)
        if manager.database is None:
            raise UnsupportedDatabaseError(
                f"{self.found.place.says} is a database in memory: another program's cannot "
                "be reached, and this one's is empty.",
                hint="Name a database file, or back it up in the program that has it open.",
            )
        return manager

    @property
    def backup_directory(self) -> Path | None:
        """The backup directory that is set."""
        return self.directory or self.settings.directory

    @cached_property
    def found(self) -> FoundDatabase:
        """The database that is meant, and where it is named.

        Raises :class:`DatabaseNotNamedError` when it is named nowhere.
        """
        return find_database(self.places())

    def places(self) -> Iterator[Place]:
        """Yield the places in which it may be named, the one that counts first first."""
        if self.context is not None:
            yield from defaults.places_of_options(self.context, self.named)
        else:
            yield from defaults.places_typed(self.named)
        yield from places_of_the_folder(self.files.configurations(), self.backup_directory)

    @cached_property
    def files(self) -> ProjectFiles:
        """The configuration files."""
        return ProjectFiles(self.config)

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
        hint = (
            f"It is named by {self.found.place.name}. To name another: --url, --engine or "
            f"{URL_VARIABLE}. 'soulsense-db config' shows where it is looked for."
        )
        if others := len(manager.others()):
            hint = f"There are {others} backup(s) of other databases. To use one, import it. {hint}"
        raise DatabaseFileNotFoundError(
            f"{missing.cause}. There are no backups of it in {manager.directory} either.",
            hint=hint,
            path=manager.database,
        ) from missing

    @cached_property
    def settings(self) -> Settings:
        """The ``soulsense_`` options of the configuration."""
        settings = Settings.of(self.files.merged(is_ours))
        text = old_alembic.warning(
            protects=settings.protects,
            script_location=lambda: self.files.merged(_is_script_location).get(_SCRIPT_LOCATION),
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
        if policy is None or not self.named or self.config is not None:
            return policy
        self.warn_of_policy()
        return None

    def warn_of_policy(self) -> None:
        """Say, once, that the policy of the current directory is not applied."""
        if self._has_warned:
            return
        self._has_warned = True
        output.warn(
            "The retention policy in the current directory's configuration is not applied to the "
            f"database that --{next(iter(self.named))} names. To apply it, name the file: "
            "--config FILE"
        )

    def command(self, *words: str) -> str:
        """Return a command of this program to copy, about the same database and directory."""
        given: dict[str, object] = {"--config": self.config}
        given |= {f"--{name}": value for name, value in self.named.items()}
        given |= {"--directory": self.directory}
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

    def confirm(self, question: str, *, hint: str = "Add --yes if it may go ahead.") -> None:
        """Go on only after a yes; raises :class:`NotConfirmedError`.

        ``hint``: what to do where there is nobody to ask.
        """
        if self.yes:
            return
        if self.as_json or not sys.stdin.isatty():
            raise NotConfirmedError(
                "This command asks first, and there is no terminal to ask on.",
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


def _is_script_location(name: str) -> bool:
    return name == _SCRIPT_LOCATION


def known_kinds(kinds: list[str]) -> list[str]:
    """Return ``kinds``; one that does not exist is a usage error."""
    for kind in kinds:
        if kind not in KINDS:
            raise typer.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}", param_hint="--kind")
    return kinds


Command = Callable[..., dict[str, Any]]
"""Takes a :class:`Session` and its own parameters; returns the ``result`` of ``--json``."""


def add(
    app: typer.Typer, command: Command, name: str | None = None, **groups: Callable[..., Any]
) -> None:
    """Make ``command`` one of the program's.

    ``groups``: for a parameter of the command, a function whose own parameters are options of the
    program, and which makes the parameter's value of them. Every command has ``session``.
    """
    name = name or command.__name__
    groups = {**groups, "session": _session}
    own = {p.name: p for p in _parameters(command, name) if p.name not in groups}
    declared = {group: {p.name: p for p in _parameters(of, name)} for group, of in groups.items()}

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        dropped = defaults.without_rules_of_another(arguments["context"], arguments)
        made = {
            group: groups[group](**{key: arguments.pop(key) for key in parameters})
            for group, parameters in declared.items()
        }
        session: Session = made["session"]
        if dropped:
            session.warn_of_policy()
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
    app.command(name)(run)


def _parameters(function: Callable[..., Any], command: str) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        yield defaults.with_variables(
            parameter.replace(
                annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY
            ),
            command,
        )
