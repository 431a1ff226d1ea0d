"""A session: the database of a command, its manager, and what it says and asks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soulsense_db.backup_info import KINDS, BackupInfo
from soulsense_db.catalog import catalog_option
from soulsense_db.cli import defaults, old_alembic, output
from soulsense_db.cli.facts import databases_of
from soulsense_db.cli.form_options import GivenForms
from soulsense_db.cli.mirror_options import GivenMirrors
from soulsense_db.cli.passphrase import Passphrase
from soulsense_db.cli.project_files import ProjectFiles
from soulsense_db.codecs import PASSPHRASE, Identities
from soulsense_db.errors import (
    BackupError,
    DatabaseFileNotFoundError,
    IdentityError,
    NotConfirmedError,
    OptionError,
    UnsupportedDatabaseError,
    name_in_commands,
    without_passwords,
)
from soulsense_db.finding import FoundDatabase, Place, find_database, places_of_the_folder
from soulsense_db.fs import storage_errors
from soulsense_db.manager import BackupManager
from soulsense_db.notices import ignoring, log_ignored
from soulsense_db.option_files import is_ours
from soulsense_db.settings import URL_VARIABLE, FormOptions, Settings
from soulsense_db.shown_text import printable, shell_command

if TYPE_CHECKING:
    from soulsense_db.drivers import Progress
    from soulsense_db.retention import RetentionPolicy

_SCRIPT_LOCATION = "script_location"
_OF_CONFIGURATION = {".ini", ".toml", ".cfg"}
_GO_AHEAD = "To go ahead without a question, add --yes."

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
Description = Annotated[
    str,
    typer.Argument(
        metavar="DESCRIPTION",
        help="What this backup is for. The file name contains the beginning of it.",
    ),
]


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
    forms: GivenForms = field(default_factory=GivenForms)
    mirrors: GivenMirrors = field(default_factory=GivenMirrors)
    context: typer.Context | None = None
    may_ask_passphrase: bool = True
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
        if self.url and _is_configuration(Path(self.url)):
            raise OptionError(
                f"--url is {self.url}, which is a configuration file, not an SQLite database.",
                hint=f"To use the database that it names: --config {shell_command(self.url)}",
            )
        catalog = self.settings.catalog
        if self.catalog_table:
            catalog = catalog_option(self.catalog_table)
        engine = self.found.engine
        # An application that prints its SQL would do so in the middle of our answer.
        getattr(engine, "sync_engine", engine).echo = False
        forms = self.form_options
        if self.asks_passphrase:
            opens = Identities(*forms["identities"].sources, passphrase=self._passphrase.secret)
            forms = FormOptions(**{**forms, "identities": opens})
        mirrors = self.mirrors.over(self.settings, self.context)
        manager = BackupManager(engine, self.backup_directory, catalog=catalog, **forms, **mirrors)
        if not manager.live.address:
            raise UnsupportedDatabaseError(
                f"{self.found.place.says} is a database in memory, which only the program "
                "that created it can reach.",
                hint="Name a database file, or create the backup in the program that has it open.",
            )
        if manager.database is None and (not self.url or without_passwords(self.url) != self.url):
            name_in_commands(manager.live.address, tuple(self._place()))
        return manager

    def keep_at_mirrors(self, policy: RetentionPolicy | None) -> None:
        """Take what the own options of the command say of it, if anything."""
        if policy is not None:
            self.mirrors = replace(self.mirrors, retention=policy)

    # Forms

    @cached_property
    def form_options(self) -> FormOptions:
        """What options, environment and configuration say of the forms of backups."""
        return self.forms.over(self.settings, self.context)

    @cached_property
    def _passphrase(self) -> Passphrase:
        return Passphrase()

    @cached_property
    def asks_passphrase(self) -> bool:
        """Whether there is a person to ask for a passphrase, and none is set."""
        if (
            self.as_json
            or not self.may_ask_passphrase
            or self.form_options["identities"].passphrase
        ):
            return False
        return sys.stdin.isatty() and sys.stderr.isatty()

    def prepare_new(self) -> None:
        """Ask for the passphrase of a new backup, if it is to have one and there is none."""
        if self.asks_passphrase and self.form_options["recipients"] == (PASSPHRASE,):
            self._passphrase.ask_for_new()

    def prepare_to_read(self, info: BackupInfo) -> None:
        """Ask for the passphrase that ``info`` may need, before what needs it has begun.

        Raises :class:`IdentityError` if what is typed does not open it.
        """
        if not self.asks_passphrase:
            return
        try:
            self.manager.require_key(info)
        except (IdentityError, NotConfirmedError):
            raise
        except BackupError as error:  # what is wrong with the backup, its check says better
            log_ignored("Whether it can be opened is not known", error)

    def with_description(self, info: BackupInfo) -> BackupInfo:
        """Return the facts of ``info`` with its description, if it can be read here."""
        has_key = self.form_options["identities"] or self._passphrase.is_typed
        if info.sealed_description is not None and has_key:
            unread = f"The description of {info.filename} is not shown"
            with ignoring(BackupError, what=unread), self._passphrase.not_asking():
                description = self.manager.description_of(info)
                return replace(info, description=description, sealed_description=None)
        return info

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
                    f"The database is missing: {manager.live.name}. To get it back: "
                    f"{self.command('restore', 'latest')}"
                )
            return
        hint = (
            f"It is named by {self.found.place.name}. To name another: --url, --engine or "
            f"{URL_VARIABLE}. 'soulsense-db config' shows where it is looked for."
        )
        if found := manager.others():
            hint = (
                f"{len(found)} backup(s) there belong to other databases: {databases_of(found)}. "
                f"To use one, import it. {hint}"
            )
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
            f"database that --{next(iter(self.named))} names. To apply it, add "
            "--config FILE."
        )

    def command(self, *words: str) -> str:
        """Return a command of this program to copy, about the same database and directory."""
        place = self._place()
        if self.context is not None and defaults.is_typed(self.context, "identity_file"):
            place += [w for file in self.forms.identity_files for w in ("--identity-file", file)]
        return without_passwords(shell_command("soulsense-db", *words, *place))

    def _place(self) -> list[str]:
        """Return the options by which the command line names the database and the directory."""
        given: dict[str, object] = {"--config": self.config}
        given |= {f"--{name}": value for name, value in self.named.items()}
        given |= {"--directory": self.directory}
        return [str(word) for name, value in given.items() if value for word in (name, value)]

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

    def require_answer(self, *, hint: str = _GO_AHEAD) -> None:
        """Raise :class:`NotConfirmedError` where :meth:`confirm` has nobody to ask."""
        if not self.yes and (self.as_json or not sys.stdin.isatty()):
            raise NotConfirmedError(
                "This command asks for confirmation, and there is no terminal to ask on.",
                hint=hint,
            )

    def confirm(self, question: str, *, hint: str = _GO_AHEAD) -> None:
        """Go on only after a yes; raises :class:`NotConfirmedError`.

        ``hint``: what to do where there is nobody to ask.
        """
        if self.yes:
            return
        self.require_answer(hint=hint)
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
