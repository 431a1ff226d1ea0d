"""The runs of migrations that a child told of, and whether env.py saved what they did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from soulsense_db.alembic.rehearsal.child_process import Told


@dataclass
class Run:
    """One run of a chain of migrations; ``heads``: what its version table should have now.

    ``is_attached``: whether that table is in another file, and nothing can be told of it here;
    ``heads_before``: None where the run ended before it had looked.
    """

    database: str | None
    version_table: str
    is_attached: bool = False
    heads_before: tuple[str, ...] | None = None
    heads: tuple[str, ...] = ()


def runs_of(told: Told) -> list[Run]:
    """Return the runs, in the order in which they began."""
    runs: dict[int, Run] = {}
    for one in told.events:
        if one["kind"] == "run":
            runs[one["run"]] = Run(one["database"], one["version_table"], one["is_attached"])
        elif one["kind"] == "heads":
            run = runs[one["run"]]
            run.heads_before = run.heads = tuple(sorted(one["heads"]))
        elif one["kind"] == "reached":
            runs[one["run"]].heads = tuple(one["heads"])
    return list(runs.values())


def heads_before(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the heads before the ``runs`` on a database: those before the first of each chain."""
    first = {run.version_table: run.heads_before or () for run in reversed(runs)}
    return tuple(sorted({head for heads in first.values() for head in heads}))


def heads_after(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the heads after the ``runs`` on a database: where the last of each chain went."""
    last = {run.version_table: run.heads for run in runs}
    return tuple(sorted({head for heads in last.values() for head in heads}))


def not_saved(runs: Iterable[Run], found: Mapping[str, Sequence[str]]) -> str:
    """Return that a database is not where the ``runs`` on it went, as a sentence; empty if it is.

    ``found``: the heads that are in it, by version table.
    """
    last = {run.version_table: run for run in runs if not run.is_attached}
    for name, run in last.items():
        at = tuple(sorted(found.get(name, ())))
        if at != run.heads:
            return (
                f"env.py ends without saving it: the data is at {_named(at)}, and should be at "
                f"{_named(run.heads)}. A statement that runs on the connection before "
                "context.begin_transaction() may begin a transaction that nobody commits: end it "
                "there, with connection.commit()."
            )
    return ""


def _named(heads: Sequence[str]) -> str:
    return ", ".join(heads) or "no revision"
