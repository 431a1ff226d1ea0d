"""What ``rehearse --junit`` writes: JUnit's XML, which GitLab, GitHub's actions and Jenkins read.

The form is that of the schema of Jenkins, ``junit-10.xsd``. A step is a test case, and so is each
kind of check: what speaks against the real run is a ``failure`` of it, the rest is in its
``system-out``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from soulsense_db.cli.rehearsal_text import rehearsed_on, step_name, word_of
from soulsense_db.shown_text import printable

if TYPE_CHECKING:
    from soulsense_db.alembic import Finding, RehearsalReport

START = '<?xml version="1.0" encoding="utf-8"?>\n<!-- soulsense-db rehearse -->\n'
# What XML 1.0 has no way to say, https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CHECKS = {
    "Rows are kept": {
        "rows_lost",
        "rows_not_found",
        "keys_changed",
        "cascade",
        "table_dropped",
        "renamed",
    },
    "Values are kept": {
        "values_lost",
        "values_shortened",
        "values_rounded",
        "values_changed",
        "column_dropped",
    },
    "Foreign keys are kept": {"reference"},
    "Constraints are kept": {"constraint"},
    "The file is sound": {"integrity"},
    "The live database was not touched": {"live_changed", "bypass"},
    "There is space on the disk": {"space"},
    "Others can write in time": {"writers_wait"},
}
_OF_STEPS = {"failed", "state", "way_back", "older", "not_saved", "no_effect"}
_ROUND_TRIP = "The data survives the way back"
_MODELS = "The models match (alembic check)"
_OTHER = "Everything was measured"


@dataclass
class _Case:
    """One test case; ``failures`` and ``others`` are findings."""

    suite: str
    name: str
    seconds: float = 0.0
    failures: list[Finding] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def take(self, finding: Finding) -> None:
        """Take a finding up."""
        if finding.severity in {"error", "loss"}:
            self.failures.append(finding)
        else:
            self.others.append(f"{word_of(finding)}: {finding.sentence}")


def rehearsal_junit(report: RehearsalReport) -> str:
    """Return a report as XML."""
    cases = [*_steps(report), *_checks(report)]
    root = ElementTree.Element("testsuites", name="soulsense-db rehearse")
    _count(root, cases, report.seconds)
    for name in dict.fromkeys(case.suite for case in cases):
        own = [case for case in cases if case.suite == name]
        suite = ElementTree.SubElement(root, "testsuite", name=name)
        _count(suite, own, sum(case.seconds for case in own))
        suite.set("skipped", "0")
        suite.set("timestamp", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}")
        for case in own:
            _add(suite, case)
        ElementTree.SubElement(suite, "system-out").text = _lines(
            [f"{rehearsed_on(report)}.", report.verdict]
        )
    ElementTree.indent(root)
    return f"{START}{ElementTree.tostring(root, encoding='unicode')}\n"


def _steps(report: RehearsalReport) -> list[_Case]:
    several = len({step.database for step in report.steps}) > 1
    cases = []
    for step in report.steps:
        name = f"{step_name(step)} {step.message}".strip()
        if several and step.database is not None:
            name += f" ({step.database.name})"
        cases.append(_Case("migration steps", name, step.seconds or 0.0))
    if not cases or (report.failure is not None and not report.failure.revision):
        cases.append(_Case("migration steps", f"upgrade to {report.revision}"))
    # The one that failed is the last that began.
    for finding in report.findings:
        if finding.kind in _OF_STEPS:
            cases[-1].take(finding)
    if report.failure is not None and report.output:
        cases[-1].others += ["The last lines that it printed:", *report.output.splitlines()]
    return cases


def _checks(report: RehearsalReport) -> list[_Case]:
    """Return a case for each check that was made."""
    suite = "checks"
    cases = dict(_made(suite, report))
    other = _Case(suite, _OTHER)
    for finding in report.findings:
        if finding.kind not in _OF_STEPS:
            cases.get(finding.kind, other).take(finding)
    found = list({id(case): case for case in cases.values()}.values())
    return [*found, other] if other.failures or other.others else found


def _made(suite: str, report: RehearsalReport) -> list[tuple[str, _Case]]:
    always = {"live_changed", "space", "writers_wait"}
    cases = []
    for name, kinds in _CHECKS.items():
        if report.failure is None or kinds & always:
            case = _Case(suite, name)
            cases += [(kind, case) for kind in sorted(kinds)]
    if any(step.direction == "downgrade" for step in report.steps):
        cases.append(("round_trip", _Case(suite, _ROUND_TRIP)))
    # Without a finding, nobody knows here whether env.py has models.
    if any(finding.kind == "models_differ" for finding in report.findings):
        cases.append(("models_differ", _Case(suite, _MODELS)))
    return cases


def _count(element: ElementTree.Element, cases: Sequence[_Case], seconds: float) -> None:
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(bool(case.failures) for case in cases)))
    element.set("errors", "0")
    element.set("time", f"{seconds:.3f}")


def _add(suite: ElementTree.Element, case: _Case) -> None:
    element = ElementTree.SubElement(
        suite,
        "testcase",
        classname=f"soulsense-db rehearse.{case.suite}",
        name=_xml(case.name),
        time=f"{case.seconds:.3f}",
    )
    if case.failures:  # one: GitLab shows the first alone
        first = case.failures[0]
        failure = ElementTree.SubElement(
            element, "failure", type=first.kind, message=_xml(first.sentence)
        )
        failure.text = _lines(
            [line for one in case.failures for line in (one.sentence, *one.remedy.splitlines())]
        )
    if case.others:
        ElementTree.SubElement(element, "system-out").text = _lines(case.others)


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(map(_xml, lines))


def _xml(text: str) -> str:
    return _NOT_XML.sub(" ", printable(text))
