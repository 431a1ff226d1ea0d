"""Rehearse the chains of real applications: without a fault, and with one planted in each.

    python tests/real/rehearse.py [--application Galaxy] [--work DIR]

Each application is installed into an environment of its own, together with this checkout: about a
gigabyte in all. Its databases are made by the application itself at an old revision, and all their
tables are given rows. What must hold: its own chain gives no finding but those that are true (they
stand in :mod:`rehearsed`, with the reason); each fault that is put behind its head is named; the
live files are byte for byte what they were, and nothing is left beside them. The exit code is 1
where something of it does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsed import REHEARSED, Fault, Rehearsed
from rows import fill

CHECKOUT = Path(__file__).resolve().parents[2]
_ROWS = 30
_SECONDS = 600
_OWN = ("SOULSENSE_", "PYTHON", "VIRTUAL_ENV", "DSTACK_", "AIRFLOW_", "GALAXY_")


@dataclass(frozen=True, slots=True)
class Installed:
    """An application in its environment, with databases at an old revision in ``folder``."""

    application: Rehearsed
    programs: Path
    folder: Path
    rows: int

    @property
    def ini(self) -> Path:
        """The configuration of its chain."""
        return site_packages(self.programs) / self.application.ini

    @contextmanager
    def with_fault(self, fault: Fault) -> Iterator[None]:
        """Put the step behind the head of the chain, and take it away again."""
        step = self.ini.parent / self.application.versions / "planted_by_a_test.py"
        step.write_text(fault.source(self.application.head))
        try:
            yield
        finally:
            step.unlink()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rehearsal said, and what should be otherwise."""

    exit_code: int
    steps: int
    seconds: float
    findings: tuple[dict[str, Any], ...]
    problems: tuple[str, ...]


def install(application: Rehearsed, work: Path) -> Installed:
    """Install it beside this checkout, and make the databases."""
    place = work / application.name
    programs = place / "environment" / "bin"
    if not programs.exists():
        venv.create(place / "environment", with_pip=True)
    pip = [str(programs / "python"), "-m", "pip", "install", "-qq"]
    subprocess.run([*pip, application.requirement, "-e", str(CHECKOUT)], check=True)
    folder = place / "live"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "home" / "data").mkdir(parents=True)
    made = Installed(application, programs, folder, 0)
    for command in application.build:
        finished = run(made, command)
        assert finished.returncode == 0, f"{command}:\n{finished.stdout}{finished.stderr}"
    shutil.rmtree(folder / "backups", ignore_errors=True)
    rows = 0
    for name in application.databases:
        filled = fill(folder / name, _ROWS, without=application.left_empty)
        empty = [
            table for table, n in filled.items() if not n and table not in application.left_empty
        ]
        assert not empty, f"tables without rows: {empty}"
        rows += sum(filled.values())
    return Installed(application, programs, folder, rows)


def run(installed: Installed, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of its environment, where its operators would."""
    application, folder = installed.application, installed.folder
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_OWN)}
    environment |= {"SOULSENSE_BACKUP": "0", "HOME": str(folder / "home"), "COLUMNS": "999"}
    environment |= {"PATH": f"{installed.programs}:{os.environ['PATH']}"}
    environment |= application.environment(folder)
    words: list[str] = []
    for word in command:
        if word == "{arguments}":
            words += application.arguments(folder)
        else:
            words.append(str(installed.ini) if word == "{ini}" else word)
    place = (
        site_packages(installed.programs) / application.runs_in if application.runs_in else folder
    )
    return subprocess.run(
        words,
        env=environment,
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def site_packages(programs: Path) -> Path:
    """Return where the environment's packages are."""
    (found,) = programs.parent.glob("lib/python*/site-packages")
    return found


def rehearse(installed: Installed, fault: Fault | None = None) -> Outcome:
    """Rehearse the chain, and judge what is said of it."""
    application, folder = installed.application, installed.folder
    database = folder / application.databases[0]
    command = ["soulsense-db", "rehearse", application.target, "--json", "--config", "{ini}"]
    if len(application.databases) > 1:  # one of them has to be named
        command += ["--url", f"sqlite:///{database}"]
    before, started = _files(folder), time.monotonic()
    finished = run(installed, [*command, "{arguments}"])
    seconds = time.monotonic() - started
    problems = []
    if _files(folder) != before:
        changed = {path for path, _ in _files(folder).items() ^ before.items()}
        problems.append(f"files changed: {sorted(changed)}")
    try:
        report = json.loads(finished.stdout)["result"]
        findings = report["findings"]
    except (ValueError, KeyError):
        output = (finished.stdout + finished.stderr).strip()[-1500:]
        return Outcome(finished.returncode, 0, seconds, (), (*problems, f"no report: {output}"))
    problems += _wrong(application, findings, fault)
    if not report["live_unchanged"]:
        problems.append("it says that the live database was changed")
    return Outcome(
        finished.returncode, len(report["steps"]), seconds, tuple(findings), tuple(problems)
    )


def _wrong(
    application: Rehearsed, findings: Sequence[dict[str, Any]], fault: Fault | None
) -> Iterator[str]:
    """Yield each false alarm, each true thing that is not said, and a fault that is not named."""
    said = {(one["kind"], one.get("table") or "") for one in findings}
    if fault is None:
        for one in findings:
            key = (one["kind"], one.get("table") or "")
            if one["severity"] != "notice" and key not in application.true:
                yield f"false alarm: {one['sentence']}"
    elif fault.finding not in said:
        yield f"the fault is not named: {fault.finding}"
    if ("failed", "") not in said:  # else only the failure is told
        yield from (f"not said: {key}" for key in application.true if key not in said)


def _files(folder: Path) -> dict[str, tuple[int, str]]:
    """Return time and content of each database, and all that lies beside it."""
    return {
        path.name: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.endswith("-shm")  # of readers
    }


def try_one(application: Rehearsed, work: Path) -> int:
    """Rehearse an application without and with each fault; print, and return the problems."""
    print(
        f"{application.name}: {application.why}; installing {application.requirement} ...",
        flush=True,
    )
    installed = install(application, work)
    print(f"  {installed.rows} rows in {' and '.join(application.databases)}", flush=True)
    wrong = show("its own chain", rehearse(installed))
    for fault in application.faults:
        with installed.with_fault(fault):
            wrong += show(f"{fault.name} planted", rehearse(installed, fault))
    return wrong


def show(what: str, outcome: Outcome) -> int:
    """Print one rehearsal; return the number of its problems."""
    print(
        f"  {what}: {outcome.steps} steps in {outcome.seconds:.1f} s, exit code "
        f"{outcome.exit_code}, {'PROBLEMS' if outcome.problems else 'as it must be'}",
        flush=True,
    )
    for one in outcome.findings:
        print(f"    {one['severity']}: {one['sentence'][:300]}", flush=True)
    for problem in outcome.problems:
        print(f"    PROBLEM: {problem}", flush=True)
    return len(outcome.problems)


def main() -> int:
    """Try all, or those that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [application.name for application in REHEARSED]
    parser.add_argument("--application", choices=names, action="append", help="only this one")
    parser.add_argument("--work", type=Path, help="keep environments here, and use them again")
    options = parser.parse_args()
    work = (options.work or Path(tempfile.mkdtemp(prefix="rehearse-"))).resolve()
    try:
        wrong = sum(
            try_one(one, work) for one in REHEARSED if one.name in (options.application or names)
        )
    finally:
        if not options.work:
            shutil.rmtree(work)
    print(f"{wrong} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
