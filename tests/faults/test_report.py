"""docs/reliability.md tells of all that the matrix tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.operations import OPERATIONS
from faults.report import PAGE, Report, block, operations_of


@pytest.mark.parametrize("fault", ["kill", "error", "power cut", "small disk"])
def test_every_operation_has_its_row(fault: str, full: bool) -> None:
    """The table of each fault has a row of each operation, unless this is the run that makes it."""
    assert full or operations_of(block(PAGE.read_text(), fault)) == list(OPERATIONS)


@pytest.mark.parametrize("fault", ["concurrency", "damage", "drills"])
def test_the_other_tables_are_filled(fault: str, full: bool) -> None:
    """The other tables were made by a run as well."""
    assert full or operations_of(block(PAGE.read_text(), fault))


def test_a_run_of_a_part_leaves_the_table(tmp_path: Path) -> None:
    """Only a run of every row rewrites a table: a number that was not measured is not printed."""
    page = tmp_path / "page.md"
    page.write_text("<!-- machine -->\n<!-- end -->\n<!-- kill -->\n<!-- end -->\n")
    for operations in (("create", "undo"), ("create",), ("undo", "create")):
        report = Report()
        for count, operation in enumerate(operations, 1):
            report.record(fault="kill", operation=operation, outcome="before", count=count)
            report.record(fault="kill", operation=operation, outcome="after")
        report.write(page)
        if operations == ("create",):
            assert "| undo | 3 | 2 before; 1 after |" in page.read_text()
    assert "| undo | 2 | 1 before; 1 after |" in page.read_text()
    assert "| **all** | **5** | nothing lost |" in page.read_text()
