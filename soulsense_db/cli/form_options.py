"""The common options about forms: how new backups are made and stored, and what opens them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from soulsense_db.cli import defaults
from soulsense_db.cli.grammar import FORM_OPTIONS, SERVER_OPTIONS
from soulsense_db.codecs import Compression, Identities, Secret
from soulsense_db.errors import OptionError
from soulsense_db.settings import (
    KEY_FILE_VARIABLE,
    NONE,
    FormOptions,
    Settings,
    environment_identities,
    jobs_in,
    names_in,
    public_keys_in,
    public_keys_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenForms:
    """The options as they are given; None, or nothing, for what is not."""

    compression: str | None = None
    differential: bool | None = None
    recipients: tuple[str, ...] = ()
    identity_files: tuple[str, ...] = ()
    describe_openly: bool | None = None
    work_directory: Path | None = None
    tools: Path | None = None
    jobs: int | None = None

    @property
    def by_option(self) -> dict[str, object]:
        """The same by the names of the options."""
        return {
            "--compression": self.compression,
            "--differential": self.differential,
            "--recipient": self.recipients,
            "--identity-file": self.identity_files,
            "--describe-openly": self.describe_openly,
            "--work-directory": self.work_directory,
            "--tools": self.tools,
            "--jobs": self.jobs,
        }

    def over(self, settings: Settings, context: typer.Context | None) -> FormOptions:
        """Return the options of the manager: what is given here, else what ``settings`` say."""
        options = settings.form_options()
        if self.differential is not None:
            options["differential"] = self.differential
        if self.compression is not None:
            options["compression"] = Compression.of(self.compression)
            if self.compression.strip().lower() == NONE:
                self._require_no_differential(context)
                options["differential"] = False
        if self.recipients:
            # A variable is one text, which has its own rules, and is not split by Click's.
            text = defaults.text_of_variable(context, "recipient")
            keys = public_keys_of(self.recipients) if text is None else public_keys_in(text)
            options["recipients"] = keys or None
        if files := self._key_files(context):
            passphrase = options["identities"].passphrase
            options["identities"] = Identities(*map(Secret.from_file, files), passphrase=passphrase)
        if self.describe_openly is not None:
            options["describe_openly"] = self.describe_openly
        if self.work_directory is not None:
            options["work_directory"] = self.work_directory
        if self.tools is not None:
            options["tools"] = self.tools
        if self.jobs is not None:
            options["jobs"] = self.jobs
        return options

    def _require_no_differential(self, context: typer.Context | None) -> None:
        """Raise where both are asked for; who types one of them alone means that one."""
        is_typed = context is not None and (
            defaults.is_typed(context, "compression")
            and not defaults.is_typed(context, "differential")
        )
        if self.differential and not is_typed:
            raise OptionError(
                "Differential backups are compressed, and compression is off.",
                hint="Leave out --compression or --differential.",
            )

    def _key_files(self, context: typer.Context | None) -> tuple[str, ...]:
        """Return the key files that count before those of the environment and the settings."""
        if context is None or defaults.is_typed(context, "identity_file"):
            return self.identity_files
        for variable, text in defaults.variable_set(context, "identity_file"):
            # That one the settings know, and the variable with a key as well.
            return () if variable == KEY_FILE_VARIABLE else names_in(text)
        return () if environment_identities().sources else self.identity_files


def form_options(  # noqa: PLR0917 - Typer gives them by name
    compression: Annotated[
        str | None,
        typer.Option(
            "--compression",
            metavar="METHOD",
            help="Compress new backups: zstd, or zstd:LEVEL with a level from 1 to 19; or 'none'. "
            "Default: none.",
            rich_help_panel=FORM_OPTIONS,
        ),
    ] = None,
    differential: Annotated[
        bool | None,
        typer.Option(
            "--differential/--no-differential",
            help="New backups hold what differs from an earlier full one.",
            rich_help_panel=FORM_OPTIONS,
        ),
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            "--recipient",
            metavar="KEY",
            help="Encrypt new backups for this public key, of age or SSH; may be repeated. Or "
            "'passphrase'; or 'none'. Default: none.",
            rich_help_panel=FORM_OPTIONS,
        ),
    ] = None,
    identity_file: Annotated[
        list[str] | None,
        typer.Option(
            "--identity-file",
            metavar="FILE",
            help="File with the private key that opens encrypted backups; may be repeated.",
            rich_help_panel=FORM_OPTIONS,
        ),
    ] = None,
    work_directory: Annotated[
        str | None,
        typer.Option(
            "--work-directory",
            metavar="DIR",
            help="Directory for the private file that holds the data while it is compressed or "
            "encrypted. Default: beside the database.",
            rich_help_panel=FORM_OPTIONS,
        ),
    ] = None,
    tools: Annotated[
        str | None,
        typer.Option(
            "--tools",
            metavar="DIR",
            help="Directory of the database server's own programs, pg_dump or mariadb-dump. "
            "Default: where they are found.",
            rich_help_panel=SERVER_OPTIONS,
        ),
    ] = None,
    jobs: Annotated[
        str | None,
        typer.Option(
            "--jobs",
            metavar="N",
            help="How many tables of a PostgreSQL server are dumped or restored at once. "
            "Default: 1.",
            rich_help_panel=SERVER_OPTIONS,
        ),
    ] = None,
    describe_openly: Annotated[
        bool | None,
        typer.Option(
            "--describe-openly/--no-describe-openly",
            help="Show the description of new encrypted backups to everybody.",
            rich_help_panel=FORM_OPTIONS,
        ),
    ] = None,
) -> GivenForms:
    """Declare them."""
    for name, value in (("--work-directory", work_directory), ("--tools", tools)):
        if value is not None and not value.strip():  # a variable that is not set
            raise OptionError(f"{name} is empty.", hint="Name a directory.")
    return GivenForms(
        compression=compression,
        differential=differential,
        recipients=tuple(recipient or ()),
        identity_files=tuple(identity_file or ()),
        describe_openly=describe_openly,
        work_directory=Path(work_directory) if work_directory else None,
        tools=Path(tools) if tools else None,
        jobs=jobs_in("--jobs", jobs or ""),
    )
