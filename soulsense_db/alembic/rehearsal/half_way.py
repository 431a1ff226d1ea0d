"""What a migration that fails leaves in the database."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from soulsense_db.drivers import DatabaseSurvey

_TEMPORARY = "_alembic_tmp_"  # as Alembic names the table that a batch operation fills


def left_behind(
    before: DatabaseSurvey, after: DatabaseSurvey, heads: Collection[str]
) -> tuple[bool, str]:
    """Return whether a failure leaves the database half-way, and in a sentence how."""
    leftovers = sorted(
        name.partition(" ")[2]
        for name in after.schema.keys() - before.schema.keys()
        if name.startswith(f"table {_TEMPORARY}")
    )
    if (before.tables, before.schema, dict(before.alembic_heads)) == (
        after.tables,
        after.schema,
        dict(after.alembic_heads),
    ):
        return False, "What had run of the failed step was rolled back: the data is as before."
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
    return True, f"{sentence}."


def _listed(names: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    more = len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown
