"""The table of outcomes in docs/reliability.md, rewritten by a run of the whole matrix."""

from __future__ import annotations

import platform
import re
import sqlite3
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


class Report:
    """Counts of outcomes by fault and operation."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))

    def record(self, *, fault: str, operation: str, outcome: str, count: int = 1) -> None:
        """Count cases of ``fault`` under ``operation`` that ended in ``outcome``."""
        self._counts[fault][operation][outcome] += count

    def write(self, page: Path = PAGE) -> None:
        """Rewrite the tables of ``page`` of which every row was measured again."""
        text = before_all = page.read_text()
        for fault, rows in self._counts.items():
            before = block(text, fault)
            if set(operations_of(before)) <= set(rows):
                text = replaced(text, fault, _table(rows))
        if text != before_all:
            text = replaced(text, "machine", _machine())
        page.write_text(text)


def replaced(text: str, name: str, contents: str) -> str:
    """Return a page with ``contents`` between its two marks ``name``."""
    mark = f"<!-- {name} -->\n"
    return text.replace(mark + block(text, name), mark + contents)


def block(text: str, name: str) -> str:
    """Return what stands between the two marks ``name`` of a page."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert found, f"docs/reliability.md has no place for: {name}"
    return found[1]


def operations_of(table: str) -> list[str]:
    """Return the operations that a table has rows of."""
    cells = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    return [cell for cell in cells if cell not in ("operation", "---", "**all**")]


def _table(rows: dict[str, Counter[str]]) -> str:
    lines = ["", "| operation | points | outcomes |", "| --- | ---: | --- |"]
    total = 0
    for operation, outcomes in rows.items():
        points = outcomes.total()
        total += points
        listed = "; ".join(f"{count:,} {name}" for name, count in outcomes.most_common())
        lines.append(f"| {operation} | {points:,} | {listed} |")
    lines.append(f"| **all** | **{total:,}** | nothing lost |")
    return "\n".join([*lines, "", ""])


def _machine() -> str:
    version = subprocess.run(["strace", "--version"], capture_output=True, text=True, check=True)  # noqa: S607
    strace = version.stdout.split("\n")[0].rpartition(" ")[2]
    return (
        f"\nMeasured with SQLite {sqlite3.sqlite_version}, Python {platform.python_version()}, "
        f"strace {strace}, {platform.system()} {platform.machine()}.\n\n"
    )
