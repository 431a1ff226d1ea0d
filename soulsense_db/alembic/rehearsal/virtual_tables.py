"""Findings about the tables in which a virtual table, such as a full-text index, keeps its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from soulsense_db.alembic.rehearsal.report import Finding, Severity

_WORST_FIRST: tuple[Severity, ...] = ("error", "loss", "warning", "notice")


def by_virtual_table(findings: Iterable[Finding], owners: Mapping[str, str]) -> list[Finding]:
    """Return ``findings`` with one for each virtual table, where its first was: the worst.

    ``owners``: virtual tables, by the tables in which they keep their data.
    """
    found: list[Finding | str] = []  # the name of a virtual table in the place of its finding
    of_owner: dict[str, list[Finding]] = {}
    for one in findings:
        owner = owners.get(one.table)
        if owner is None:
            found.append(one)
            continue
        if owner not in of_owner:
            found.append(owner)
        of_owner.setdefault(owner, []).append(one)
    return [_summed_up(one, of_owner[one]) if isinstance(one, str) else one for one in found]


def _summed_up(owner: str, findings: list[Finding]) -> Finding:
    worst = min(findings, key=lambda one: _WORST_FIRST.index(one.severity))
    kinds = {one.kind for one in findings}
    if kinds == {"table_dropped"}:
        sentence = f"Virtual table {owner} is dropped, with all that was in it."
    elif kinds == {"values_changed"}:
        sentence = f"What virtual table {owner} stores changed."
    else:
        sentence = f"In virtual table {owner}, {worst.sentence[0].lower()}{worst.sentence[1:]}"
    return replace(worst, table=owner, column="", sentence=sentence)
