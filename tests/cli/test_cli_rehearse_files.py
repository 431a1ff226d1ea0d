"""What rehearse writes for others: a page, JUnit's XML; and what it says with --quiet."""

from __future__ import annotations

import stat
from pathlib import Path
from xml.etree import ElementTree

import pytest
from alembic_project import Project
from html_page import Page
from rehearsals import project
from test_cli_rehearse import run

pytestmark = pytest.mark.slow

EVIL = "evil \x1b[2J <script>alert(1)</script> & \u202e"
LOSES = 'op.execute("DELETE FROM entry")'

# What https://github.com/jenkinsci/xunit-plugin has in junit-10.xsd of the elements used here:
# which are in which, the attributes that may be there, and those that must.
ELEMENTS: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"testsuite"}, {"name", "time", "tests", "failures", "errors"}, set()),
    "testsuite": (
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        {"time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
        {"name", "tests", "failures", "errors"},
    ),
    "testcase": (
        {"skipped", "error", "failure", "system-out", "system-err"},
        {"time", "classname", "group"},
        {"name"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}


@pytest.fixture
def made(tmp_path: Path) -> Project:
    """Return a project at revision ``first``."""
    return project(tmp_path / "project")


def _require_valid(element: ElementTree.Element) -> None:
    children, optional, required = ELEMENTS[element.tag]
    assert required <= set(element.keys()) <= required | optional
    for child in element:
        assert child.tag in children
        _require_valid(child)
    if element.tag in {"testsuites", "testsuite"}:
        cases = list(element.iter("testcase"))
        failed = [case for case in cases if case.find("failure") is not None]
        assert (element.get("tests"), element.get("failures")) == (
            str(len(cases)),
            str(len(failed)),
        )


def junit(file: Path) -> dict[str, ElementTree.Element]:
    """Return the test cases of a valid file, by their names."""
    root = ElementTree.fromstring(file.read_text(encoding="utf-8"))  # noqa: S314 - our own
    assert root.tag == "testsuites"
    _require_valid(root)
    return {str(case.get("name")): case for case in root.iter("testcase")}


def failures(cases: dict[str, ElementTree.Element]) -> dict[str, str]:
    """Return what each failed case says."""
    return {
        name: str(found.get("message"))
        for name, case in cases.items()
        if (found := case.find("failure")) is not None
    }


def test_a_page_of_its_own(made: Project, tmp_path: Path) -> None:
    """One file for its owner, with nothing of the web; what migrations say is no HTML in it."""
    made.revision("second", "first", f'print({EVIL!r})\n{LOSES}\nop.execute("OH NO {EVIL!a}")')
    file = tmp_path / "report.html"
    result = run(made, "--html", str(file))
    assert result.returncode == 76
    assert result.stdout.endswith(f"Written to {file}\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    assert not {name for name, _ in page.attributes} & {"src", "href", "onclick", "onload"}
    assert "url(" not in text and "@import" not in text
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in text and "\u202e" not in text
    assert "This migration fails. The live database was not touched." in page.text
    assert "The statement that failed" in page.text


def test_the_page_of_one_that_loses_rows(made: Project, tmp_path: Path) -> None:
    """The verdict, the finding, and the rows before and after."""
    made.revision("second", "first", LOSES)
    file = tmp_path / "report.html"
    assert run(made, "--html", str(file)).returncode == 77
    text = file.read_text(encoding="utf-8")
    assert "Table entry loses all its 3 rows." in text
    row = '<td><code>entry</code></td><td class="number">3</td><td class="number removed">0</td>'
    assert row in text
    assert "1 table with as many rows as before" in text


def test_junit_of_a_good_one(made: Project, tmp_path: Path) -> None:
    """A case for each step and for each check, and no failure."""
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = 1")')
    file = tmp_path / "report.xml"
    assert run(made, "--round-trip", "--junit", str(file)).returncode == 77
    cases = junit(file)
    assert {"second", "second (down)", "Rows are kept", "Foreign keys are kept"} <= cases.keys()
    # It does not come back from that.
    assert list(failures(cases)) == ["The data survives the way back"]
    assert "values of entry.mood changed" in str(cases["Values are kept"].findtext("system-out"))
    assert run(made, "--junit", str(file)).returncode == 0
    assert failures(junit(file)) == {}


def test_junit_of_one_that_loses_data(made: Project, tmp_path: Path) -> None:
    """The step is good; the check of the rows is not."""
    made.revision("second", "first", LOSES)
    file = tmp_path / "report.xml"
    assert run(made, "--junit", str(file)).returncode == 77
    cases = junit(file)
    assert failures(cases) == {"Rows are kept": "Table entry loses all its 3 rows."}


def test_junit_of_one_that_fails(made: Project, tmp_path: Path) -> None:
    """The step that fails says why; what was not checked is not there; no character breaks it."""
    made.revision("second", "first", "pass")
    made.revision(
        "third", "second", "print('a\\x00b\\uffff')\nraise RuntimeError('\\x01 <&\\ufffe')"
    )
    file = tmp_path / "report.xml"
    assert run(made, "--junit", str(file), "--json").returncode == 76
    cases = junit(file)
    assert list(failures(cases)) == ["third"]
    assert "Step third fails: RuntimeError" in failures(cases)["third"]
    assert "a b" in str(cases["third"].findtext("system-out"))
    assert "Rows are kept" not in cases
    assert "The live database was not touched" in cases


def test_junit_where_nothing_begins(made: Project, tmp_path: Path) -> None:
    """A rehearsal that comes to no step is a failure as well, and one with nothing to do none."""
    file = tmp_path / "report.xml"
    assert run(made, "nosuch", "--junit", str(file)).returncode == 76
    assert list(failures(junit(file))) == ["upgrade to nosuch"]
    assert run(made, "--junit", str(file)).returncode == 0
    assert failures(junit(file)) == {}


def test_files_are_looked_at_before_it_begins(made: Project, tmp_path: Path) -> None:
    """Nothing else is replaced, and a folder that is not there is told, at once."""
    made.revision("second", "first", "raise RuntimeError('it ran')")
    for arguments, code, said in (
        (("--html", str(made.database)), 71, "is no file that --html has written"),
        (("--html", f"{made.database}-wal"), 71, "may belong to the file of that name"),
        (("--junit", f"{made.database}-journal"), 71, "may belong to the file of that name"),
        (("--junit", str(made.ini)), 71, "is no file that --junit has written"),
        (("--junit", str(tmp_path / "no" / "x")), 71, "which is no directory"),
        (("--html", "same", "--junit", f"../{made.folder.name}/same"), 71, "name the same file"),
        (("--html", "same", "--junit", "same"), 71, "--html and --junit name the same file"),
    ):
        result = run(made, *arguments)
        assert (result.returncode, result.stdout) == (code, "")
        assert said in result.stderr


def test_quiet_says_what_speaks_against_it(made: Project, tmp_path: Path) -> None:
    """Nothing of a good one; of another the findings that count, and the verdict."""
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = 1")')
    assert run(made, "--quiet", "--html", str(tmp_path / "report.html")).stdout == ""
    made.revision("third", "second", LOSES)
    assert run(made, "-q").stdout.splitlines() == [
        "Loses data: Table entry loses all its 3 rows.",
        "This migration runs to its end and loses data. The live database was not touched.",
    ]
