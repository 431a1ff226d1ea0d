"""The table of outcomes, for docs/reliability.md."""

from __future__ import annotations

from collections import Counter, defaultdict


class Report:
    """Counts of outcomes by fault and operation."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def record(self, *, fault: str, operation: str, outcome: str, count: int = 1) -> None:
        """Count cases of ``fault`` under ``operation`` that ended in ``outcome``."""
        self._counts[fault, operation][outcome] += count

    def write(self) -> None:
        """Write the table."""
        for (fault, operation), outcomes in self._counts.items():
            print(fault, operation, dict(outcomes))  # noqa: T201
