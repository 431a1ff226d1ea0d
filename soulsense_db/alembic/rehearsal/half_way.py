"""What a migration that fails leaves in the database, and what a second try would meet there."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from soulsense_db.drivers import DatabaseSurvey

_TEMPORARY = "_alembic_tmp_"  # as Alembic names the table that a batch operation fills


def left_behind(
    before: DatabaseSurvey,
    after: DatabaseSurvey,
    heads: Collection[str],
    *,
    at_step: Collection[str] | None,
    already_there: str,
) -> tuple[bool, str]:
    """Return whether a failure leaves the database half-way, and in sentences how.

    ``at_step``: the names of what was there when the step began that failed, None where that is not
    known; ``already_there``: what that step wanted to create and could not, if that was it.
    """
    was_there = _was_there(before, already_there)
    if _facts(before) == _facts(after):
        return False, was_there or (
            "The failed step changed nothing: the database would be as it was before the upgrade."
        )
    leftovers = _leftovers(after, before)
    at = ", ".join(sorted(heads)) or "no revision"
    sentence = f"The real run would stop half-way, with the database at {at}"
    changed = sorted(
        {
            *(name for name in before.schema.keys() ^ after.schema.keys()),
            *(
                name
                for name in before.schema.keys() & after.schema.keys()
                if before.schema[name] != after.schema[name]
            ),
        }
    )
    named = [name for name in changed if name.partition(" ")[2] not in leftovers]
    if named:
        sentence += f" and changes to {_listed(named)}"
    if leftovers:
        original = leftovers[0].removeprefix(_TEMPORARY)
        sentence += (
            f"; {_listed(leftovers)} would be left over, and every later upgrade that recreates "
            f"{original} would fail because of it"
        )
    second_try = "" if at_step is None else _second_try(after, at_step, leftovers)
    gone = _gone(before, after)
    return True, " ".join(filter(None, (f"{sentence}.", gone, second_try, was_there)))


def _gone(before: DatabaseSurvey, after: DatabaseSurvey) -> str:
    """Say of which tables there would be fewer rows; those of a part are its table's."""
    left = {table.table: table.rows for table in after.tables}
    fewer = {
        one.table: one.rows - left.get(one.table, 0)
        for one in before.tables
        if not one.part_of and one.table not in after.unreadable
    }
    listed = [
        f"{number:,} row(s) of {table}"
        for table, number in fewer.items()
        if number > 0 and f"{_TEMPORARY}{table}" not in left  # there they are, whole or in part
    ]
    return f"{_listed(listed)} would be gone." if listed else ""


def _second_try(after: DatabaseSurvey, at_step: Collection[str], leftovers: Collection[str]) -> str:
    """Return what of the failed step itself a second try would meet."""
    new = sorted(_names(after) - set(at_step) - {f"table {name}" for name in leftovers})
    # Columns of a new table are no news, nor are those of what is left over.
    tables = [*(one.partition(" ")[2] for one in new if one.startswith("table ")), *leftovers]
    new = [name for name in new if not name.startswith(tuple(f"column {one}." for one in tables))]
    if not new:
        return ""
    return (
        "A second try on that begins the failed step anew, and may fail because of what it made "
        f"before: {_listed(new)}."
    )


def _was_there(before: DatabaseSurvey, already_there: str) -> str:
    """Return that an earlier try was in the way; empty where it was not."""
    kind, _, name = already_there.partition(" ")
    if kind == "column":
        found = [f"column {one}" for one in before.columns if one.rpartition(".")[2] == name]
    else:
        found = [already_there] if already_there in before.schema else []
    if not found:
        return ""
    return (
        f"What the failed step wants to create was there before the upgrade began: "
        f"{' or '.join(found)}. An earlier upgrade may have stopped half-way. If so, restore a "
        "backup from before that, or remove by hand what it left; then rehearse again."
    )


def _facts(survey: DatabaseSurvey) -> tuple[object, ...]:
    return survey.tables, survey.schema, dict(survey.alembic_heads)


def _names(survey: DatabaseSurvey) -> set[str]:
    return {*survey.schema, *(f"column {name}" for name in survey.columns)}


def _leftovers(survey: DatabaseSurvey, before: DatabaseSurvey) -> list[str]:
    """Return the temporary tables of batch operations that are there, and were not ``before``."""
    return sorted(
        name.partition(" ")[2]
        for name in survey.schema.keys() - before.schema.keys()
        if name.startswith(f"table {_TEMPORARY}")
    )


def _listed(names: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    more = len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown
