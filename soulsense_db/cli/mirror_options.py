"""The common options about mirrors: where they are, and how long they are waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from soulsense_db.cli import defaults
from soulsense_db.cli.grammar import MIRROR_OPTIONS
from soulsense_db.retention import RetentionPolicy
from soulsense_db.settings import MirrorOptions, Settings, mirrors_in, mirrors_of

MirrorSource = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="URL",
        help="Download REF from this mirror, or this folder of one: s3://bucket/prefix, say.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenMirrors:
    """The options as they are given; None, or nothing, for what is not."""

    urls: tuple[str, ...] = ()
    folder: str | None = None
    deadline: float | None = None
    retention: RetentionPolicy | None = None

    def over(self, settings: Settings, context: typer.Context | None) -> MirrorOptions:
        """Return the options of the manager: what is given here, else what ``settings`` say."""
        options = settings.mirror_options()
        if self.urls:
            # A variable is one text, which has its own rules, and is not split by Click's.
            text = defaults.text_of_variable(context, "mirror")
            options["mirrors"] = mirrors_of(self.urls) if text is None else mirrors_in(text)
        if self.folder is not None:
            options["mirror_folder"] = self.folder
        if self.deadline is not None:
            options["mirror_deadline"] = self.deadline
        if self.retention is not None:
            options["mirror_retention"] = self.retention
        return options


def mirror_options(
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            "--mirror",
            metavar="URL",
            help="Keep copies there: s3://bucket/prefix, gs://, az://, sftp://user@host/path or "
            "file:///mnt/usb/soulsense; may be repeated. Or 'none'.",
            rich_help_panel=MIRROR_OPTIONS,
        ),
    ] = None,
    mirror_folder: Annotated[
        str | None,
        typer.Option(
            "--mirror-folder",
            metavar="NAME",
            help="Folder for this database at each mirror. Default: made of the names of machine "
            "and database.",
            rich_help_panel=MIRROR_OPTIONS,
        ),
    ] = None,
    mirror_deadline: Annotated[
        float | None,
        typer.Option(
            "--mirror-deadline",
            metavar="SECONDS",
            help="How long a backup waits for mirrors at most. Default: 600.",
            rich_help_panel=MIRROR_OPTIONS,
        ),
    ] = None,
) -> GivenMirrors:
    """Declare them."""
    return GivenMirrors(urls=tuple(mirror or ()), folder=mirror_folder, deadline=mirror_deadline)
