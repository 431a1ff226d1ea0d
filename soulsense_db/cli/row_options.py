"""The options of ``restore`` that bring back chosen rows instead of the whole database."""

from __future__ import annotations

from dataclasses import dataclass, fields
from dataclasses import replace as replaced
from enum import StrEnum
from typing import Annotated, Any

import typer

_PANEL = "Chosen rows"


class TriggerChoice(StrEnum):
    """What becomes of the triggers of a table."""

    skip = "skip"
    run = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenRows:
    """Which rows are asked for; ``table`` is None where the whole database is meant."""

    table: str | None = None
    where: str | None = None
    replace: bool = False
    with_parents: bool = False
    with_children: bool = False
    without_columns: tuple[str, ...] = ()
    triggers: TriggerChoice = TriggerChoice.skip
    dry_run: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of ``preview_rows`` and ``restore_rows``."""
        return {
            "where": self.where,
            "replace": self.replace,
            "with_parents": self.with_parents,
            "with_children": self.with_children,
            "without_columns": self.without_columns,
            "triggers": self.triggers.value,
        }


NO_ROWS = GivenRows()


def _only(option: str, values: list[str] | None) -> str | None:
    """Return the one value; of several, all but the last would be ignored."""
    if values is not None and len(values) > 1:
        raise typer.BadParameter("it is given twice; use it once a command", param_hint=option)
    return values[0] if values else None


def _first_option(given: GivenRows) -> str:
    """Return the name of the first option that is given."""
    names = (one.name for one in fields(given))
    first = next(one for one in names if getattr(given, one) != getattr(NO_ROWS, one))
    return f"--{first.replace('_', '-').replace('columns', 'column')}"


def row_options(  # noqa: PLR0917 - Typer gives them by name
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            metavar="TABLE",
            help="Bring back rows of this table only, and leave all else as it is.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="SQL",
            help='Which rows: an SQL condition over the table\'s columns, such as "id = 17". '
            "Default: all.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Also overwrite rows that have other values now.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    with_parents: Annotated[
        bool,
        typer.Option(
            "--with-parents",
            help="Also bring back the rows that these refer to and that are gone.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    with_children: Annotated[
        bool,
        typer.Option(
            "--with-children",
            help="Also bring back the rows that refer to these, which may have been deleted with "
            "them.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    without_column: Annotated[
        list[str] | None,
        typer.Option(
            "--without-column",
            metavar="COLUMN",
            help="Leave this column out, for one that the table does not have any more; may be "
            "repeated.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    triggers: Annotated[
        TriggerChoice,
        typer.Option(
            "--triggers",
            help="Whether the table's triggers run. With 'skip', the rows become just what they "
            "were.",
            rich_help_panel=_PANEL,
        ),
    ] = TriggerChoice.skip,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what would be done, and stop."),
    ] = False,
) -> GivenRows:
    """Declare them; ``table`` and ``where`` are lists only to refuse a second one."""
    given = GivenRows(
        table=_only("--table", table),
        where=_only("--where", where),
        replace=replace,
        with_parents=with_parents,
        with_children=with_children,
        without_columns=tuple(without_column or ()),
        triggers=triggers,
        dry_run=dry_run,
    )
    # What a configuration may say of all restores is no request for rows.
    alone = replaced(given, triggers=TriggerChoice.skip, dry_run=False)
    if given.table is None and alone != NO_ROWS:
        raise typer.BadParameter(
            "it needs --table, which names the table whose rows are to come back",
            param_hint=_first_option(alone),
        )
    if given.table is not None and not given.table.strip():  # an unset variable
        raise typer.BadParameter("it is empty; name a table", param_hint="--table")
    if given.where is not None and not given.where.strip():  # as above: not all rows are meant
        raise typer.BadParameter(
            "it is empty; write a condition, or leave the option out for all rows",
            param_hint="--where",
        )
    return given
