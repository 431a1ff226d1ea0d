"""What a drill requires of a restored backup, as ``[tool.soulsense-db.drill]`` says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from soulsense_db.cli import output
from soulsense_db.cli.defaults import DRILL_TABLE, drill_table
from soulsense_db.cli.session import Session
from soulsense_db.cli.upgrading import GivenUpgrade, upgrade_json, upgrade_of, upgraded_sentence
from soulsense_db.errors import OptionError
from soulsense_db.finding import function_named
from soulsense_db.operations import DrillCheck, DrillReport, Upgrade, checks_of
from soulsense_db.option_errors import unknown_option

_CHECKS, _CALLABLE, _UPGRADE = "checks", "callable", "upgrade"
UpgradeToo = Annotated[
    bool,
    typer.Option(
        "--upgrade",
        help="Of a drill: migrate what was restored to today's code, too.",
    ),
]


def drill_checks(session: Session) -> list[DrillCheck]:
    """Return the checks of the configuration, with the application's functions imported.

    Not of a file in the current directory where the command line names another database: it may be
    another project's, and a backup that fails a check counts as no good. Raises
    :class:`OptionError`, :class:`ApplicationCodeError`.
    """
    assert session.context is not None
    table = drill_table(session.context)
    if not table:
        return []
    if session.named and session.config is None:
        output.warn(
            f"The checks of [{DRILL_TABLE}] in the current directory are not made: the database is "
            f"that of --{next(iter(session.named))}. To make them, add --config pyproject.toml."
        )
        return []
    _require_known(table)
    found: list[DrillCheck] = [*_list_of(table, _CHECKS, (str, Mapping))]
    found += [function_named(name) for name in _list_of(table, _CALLABLE, (str,))]
    checks_of(found)
    return found


def drill_upgrade(session: Session, *, wanted: bool) -> Upgrade | None:
    """Return what migrates a drilled copy; None where neither the caller nor the table wants it.

    As for :func:`drill_checks`, the table of another project says nothing. Raises
    :class:`OptionError`.
    """
    assert session.context is not None
    table = drill_table(session.context)
    if not session.named or session.config is not None:
        _require_known(table)
        value = table.get(_UPGRADE, False)
        if not isinstance(value, bool):
            raise OptionError(
                f"'{_UPGRADE}' of [{DRILL_TABLE}] cannot be used.", hint="Write true or false."
            )
        wanted = wanted or value
    return upgrade_of(session, GivenUpgrade(wanted=wanted))


def _require_known(table: Mapping[str, Any]) -> None:
    known = {_CHECKS, _CALLABLE, _UPGRADE}
    if unknown := sorted(table.keys() - known):
        raise unknown_option(unknown[0], known, table=DRILL_TABLE)


def _list_of(table: Mapping[str, Any], key: str, kinds: tuple[type, ...]) -> list[Any]:
    value = table.get(key, [])
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, kinds) for one in values):
        wanted = "a text such as myapp.checks:after_restore"
        if key == _CHECKS:
            wanted = 'a list such as [{ sql = "SELECT count(*) FROM users", at-least = 1 }]'
        raise OptionError(f"'{key}' of [{DRILL_TABLE}] cannot be used.", hint=f"Write {wanted}.")
    return values


def told(drill: DrillReport, recorded: Sequence[str], *, has_file: bool) -> list[str]:
    """Return what came of a drill, a line each; ``recorded``: the revisions that were.

    ``has_file``: whether the database is a file, and no one on a server.
    """
    where = "scratch folder" if has_file else "scratch database"
    if drill.on_private_server:
        where = "private server, as the user may create no databases,"
    restored = f"restored to a {where} in {drill.seconds:.1f} s"
    lines = [f"{restored}; integrity and references checked"]
    if drill.tables is not None:
        compared = "as recorded" if drill.rows_compared else "not compared"
        lines.append(f"{drill.rows:,} row(s) in {drill.tables} table(s): {compared}")
    if drill.alembic_heads:
        # Else they are of another version table than the usual one.
        same = ": as recorded" * (set(drill.alembic_heads) == set(recorded))
        lines.append(f"revision {', '.join(drill.alembic_heads)}{same}")
    if drill.upgrade is not None:
        lines.append(upgraded_sentence(drill.upgrade).rstrip("."))
    lines += [f"passed: {name}" for name in drill.checks]
    return lines


def drill_json(drill: DrillReport | None) -> dict[str, Any] | None:
    """Return what came of a drill, for programs."""
    if drill is None:
        return None
    return {
        "seconds": drill.seconds,
        "tables": drill.tables,
        "rows": drill.rows,
        "rows_compared": drill.rows_compared,
        "alembic_heads": list(drill.alembic_heads),
        "checks": list(drill.checks),
        "upgrade": upgrade_json(drill.upgrade),
        "on_private_server": drill.on_private_server,
    }
