"""The options of commands that migrate a copy of a backup's data, and what they show of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from soulsense_db.cli.session import Session
from soulsense_db.errors import OptionError
from soulsense_db.operations import Upgrade, UpgradeReport

if TYPE_CHECKING:
    from alembic.config import Config

    from soulsense_db.finding import AlembicConfiguration

_PANEL = "Migrations"
_HEAD = "head"
_MOST_STEPS = 5
_MOST_COLUMNS = 5
_TIMEOUT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUpgrade:
    """Whether the data is to be migrated, where to, and how."""

    wanted: bool = False
    revision: str = _HEAD
    timeout: float = _TIMEOUT_SECONDS
    x_arguments: tuple[str, ...] = ()


NO_UPGRADE = GivenUpgrade()


def upgrade_options(
    upgrade: Annotated[
        bool,
        typer.Option(
            "--upgrade",
            help="Migrate the data to today's code first, on a copy. Only if that succeeds, the "
            "database is replaced.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    revision: Annotated[
        str,
        typer.Option(
            "--revision",
            metavar="REVISION",
            help="With --upgrade: where to migrate to.",
            rich_help_panel=_PANEL,
        ),
    ] = _HEAD,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help="With --upgrade: after how long to end the migrations.",
            rich_help_panel=_PANEL,
        ),
    ] = _TIMEOUT_SECONDS,
    x_argument: Annotated[
        list[str] | None,
        typer.Option(
            "--x-argument",
            "-x",
            metavar="NAME=VALUE",
            help="With --upgrade: an argument for env.py, Alembic's -x.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
) -> GivenUpgrade:
    """Declare them."""
    if not upgrade and (revision != _HEAD or x_argument):
        raise typer.BadParameter("it needs --upgrade", param_hint="--revision")
    return GivenUpgrade(
        wanted=upgrade,
        revision=revision,
        timeout=timeout,
        x_arguments=tuple(x_argument or ()),
    )


def upgrade_of(session: Session, given: GivenUpgrade) -> Upgrade | None:
    """Return what migrates the data as ``given``; None where that is not wanted."""
    if not given.wanted:
        return None
    from soulsense_db.alembic import upgrade_to

    words = [word for one in given.x_arguments for word in ("-x", one)]
    config = alembic_config(session, [*words, "upgrade", given.revision])
    return upgrade_to(config, given.revision, timeout=given.timeout)


def alembic_config(session: Session, words: Sequence[str]) -> Config:
    """Return Alembic's configuration of the migrations that are meant, for these ``words``."""
    from soulsense_db.alembic.configured import configuration_of

    found = _configuration(session)
    return configuration_of(found.ini, found.toml, words=words)


def _configuration(session: Session) -> AlembicConfiguration:
    found = session.files.configurations()
    for one in found:
        if one.env_py() is not None:
            return one
    raise OptionError(
        f"{found[0].name} leads to no env.py." if found else "There is no alembic.ini here.",
        hint="Run this where alembic.ini is, or name it with --config.",
    )


def upgraded_sentence(report: UpgradeReport, *, would: bool = False) -> str:
    """Return what migrations did, or would do, to the data of a backup."""
    now = ", ".join(report.alembic_heads) or "no revision"
    if not report.steps:
        return f"There is nothing to migrate: the backup is at {now}."
    before = ", ".join(report.heads_before) or "no revision"
    done = "The data migrates" if would else "Migrated the data"
    steps = ", ".join(report.steps[:_MOST_STEPS])
    more = len(report.steps) - _MOST_STEPS
    steps += f" and {more} more" if more > 0 else ""
    return f"{done} from {before} to {now} in {report.seconds:.1f} s. Steps: {steps}."


def new_columns_sentence(report: UpgradeReport, tables: Collection[str]) -> str:
    """Return what becomes of columns of ``tables`` that are newer than the backup; empty if none.

    ``tables``: those whose rows change.
    """
    new = [one for one in report.new_columns if one.rpartition(".")[0] in tables]
    if not new:
        return ""
    shown = ", ".join(new[:_MOST_COLUMNS])
    more = len(new) - _MOST_COLUMNS
    shown += f" and {more} more" if more > 0 else ""
    return (
        f"Newer than the backup: {shown}. Its rows have NULL there, or what the migrations fill in."
    )


def upgrade_json(report: UpgradeReport | None) -> dict[str, Any] | None:
    """Return what migrations did, for programs."""
    if report is None:
        return None
    return {
        "revision": report.revision,
        "alembic_heads_before": list(report.heads_before),
        "alembic_heads": list(report.alembic_heads),
        "steps": list(report.steps),
        "seconds": report.seconds,
        "fewer_rows": [asdict(one) for one in report.fewer_rows],
        "new_columns": list(report.new_columns),
    }
