"""Findings about the tables in which a virtual table, such as a full-text index, keeps its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from soulsense_db.alembic.rehearsal.report import Finding


def by_virtual_table(findings: Iterable[Finding], owners: Mapping[str, str]) -> list[Finding]:
    """Return ``findings`` with those of a virtual table put together, where its first was.

    ``owners``: virtual tables, by the tables in which they keep their data.
    """
    found: list[Finding | str] = []  # the name of a virtual table in the place of its findings
    of_owner: dict[str, list[Finding]] = {}
    for one in findings:
        owner = owners.get(one.table)
        if owner is None:
            found.append(one)
            continue
        if owner not in of_owner:
            found.append(owner)
        of_owner.setdefault(owner, []).append(one)
    return [
        each
        for one in found
        for each in ([one] if isinstance(one, Finding) else _summed_up(one, of_owner[one]))
    ]


def _summed_up(owner: str, findings: list[Finding]) -> list[Finding]:
    """Return one finding where all say the same, else those that are more than a note."""
    first = findings[0]
    if {one.kind for one in findings} == {"table_dropped"}:
        worst = next((one for one in findings if one.severity == "loss"), first)
        sentence = f"Virtual table {owner} is dropped, with all that was in it."
        return [replace(worst, table=owner, sentence=sentence)]
    # Several of its tables lose as many rows when one row of it is deleted.
    serious = {
        one.sentence.replace(one.table, ""): one
        for one in reversed(findings)
        if one.severity != "notice"
    }
    if not serious:
        sentence = f"What virtual table {owner} stores changed."
        return [replace(first, table=owner, column="", sentence=sentence)]
    return [
        replace(
            one,
            table=owner,
            column="",
            sentence=f"In virtual table {owner}, {one.sentence[0].lower()}{one.sentence[1:]}",
        )
        for one in reversed(serious.values())
    ]
