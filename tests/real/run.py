"""Take real applications through a kill, an error and Ctrl-C in the middle of their migrations.

    python tests/real/run.py [--application dstack] [--moments 3] [--work DIR]

Each application is installed into an environment of its own, together with this checkout: some
hundred megabytes. A database is made at a revision in the middle of the application's own chain,
every table is given rows, and the application upgrades it in its own way, with SOULSENSE_BACKUP=1
as the only change. In one of its steps it is killed, an error is raised, or a SIGINT comes. What
must hold then is in :class:`cases.Case`; the exit code is 1 where it does not.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from applications import APPLICATIONS, Application
from cases import Case, Finished, Installed, end_of, run_command
from rows import counts, fill, revision_of

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
FAULTS = ("kill", "error", "interrupt")
SHOWN = {"kill": "SIGKILL", "error": "an error", "interrupt": "SIGINT"}
_ROWS = 30


def install(application: Application, work: Path) -> Installed:
    """Install an application beside this checkout, and make the database that cases start from."""
    place = work / application.name
    programs = place / "environment" / "bin"
    if not programs.exists():
        venv.create(place / "environment", with_pip=True)
    pip = [str(programs / "python"), "-m", "pip", "install", "-qq"]
    subprocess.run([*pip, application.requirement, "-e", str(CHECKOUT)], check=True)
    base, tried = place / "base", place / "without a fault"
    for folder in (base, tried):
        shutil.rmtree(folder, ignore_errors=True)
    (base / "home" / "data").mkdir(parents=True)
    database, whole = base / "app.db", tried / "app.db"
    build = application.build(application.middle)
    _expect_success(run_command(programs, application, database, build, SOULSENSE_BACKUP="0"))
    shutil.rmtree(base / "backups", ignore_errors=True)
    filled = fill(database, _ROWS)
    empty = [table for table, rows in filled.items() if not rows]
    assert not empty, f"tables without rows: {empty}"
    shutil.copytree(base, tried)
    numbers = place / "statements"
    count = {"REAL_FAULT": f"count {numbers}", "SOULSENSE_BACKUP": "0"}
    _expect_success(run_command(programs, application, whole, application.upgrade, **count))
    statements, steps = map(int, numbers.read_text().split())
    ask = f"import importlib.metadata as m; print(m.version({application.distribution!r}))"
    version = run_command(
        programs, application, database, ["python", "-c", ask], SOULSENSE_BACKUP="0"
    )
    return Installed(
        application=application,
        bin=programs,
        base=base,
        version=version.stdout.strip(),
        statements=statements,
        steps=steps,
        rows=sum(filled.values()),
        head=revision_of(whole),
        counts=counts(whole),
    )


def _expect_success(finished: Finished) -> None:
    assert finished.returncode == 0, f"without a fault{end_of(finished)}"


def moments_of(installed: Installed, number: int) -> list[int]:
    """Return moments from the first statement to the last, evenly spread."""
    last = installed.statements
    return sorted({1 + (last - 1) * i // max(number - 1, 1) for i in range(number)})


def table_of(cases: Sequence[Case]) -> str:
    """Return the table of docs/reliability.md."""
    lines = [
        "| application | upgrade | fault | moments | put back at once | by the printed command |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.installed.application.name, case.fault), []).append(case)
    for (name, fault), group in groups.items():
        one = group[0].installed
        upgrade = f"`{one.application.middle}` to `{one.head}`, {one.steps} steps, {one.rows} rows"
        at_once = sum(case.put_back and case.by_itself for case in group)
        later = sum(case.put_back and not case.by_itself for case in group)
        cells = (f"{name} {one.version}", upgrade, SHOWN[fault], len(group), at_once, later)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def write(table: str) -> None:
    """Put the table into docs/reliability.md, with the date."""
    sys.path.insert(0, str(HERE.parent))
    from faults.report import PAGE, replaced

    today = f"{datetime.now(UTC):%Y-%m-%d}"
    told = f"\nMeasured on {today}, with Python {sys.version.split()[0]}.\n\n{table}\n\n"
    PAGE.write_text(replaced(PAGE.read_text(), "real", told))


def main() -> int:
    """Install, try, print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    names = [application.name for application in APPLICATIONS]
    parser.add_argument("--application", choices=names, action="append", help="only this one")
    parser.add_argument("--fault", choices=FAULTS, action="append", help="only this one")
    parser.add_argument("--moments", type=int, default=3, help="moments of each fault (3)")
    parser.add_argument("--jobs", type=int, default=2, help="cases side by side (2)")
    parser.add_argument("--work", type=Path, help="keep environments here, and use them again")
    parser.add_argument("--keep", action="store_true", help="keep the folders of all cases")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="real-"))
    try:
        return _try_all(options, work.resolve())
    finally:
        if options.keep:
            print(f"Kept: {work}")
        elif not options.work:
            shutil.rmtree(work)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    pass


def _try_all(options: argparse.Namespace, work: Path) -> int:
    cases = []
    for application in APPLICATIONS:
        if application.name in (options.application or [application.name]):
            print(f"Installing {application.requirement} ...", flush=True)
            installed = install(application, work)
            cases += [
                Case(installed, fault, moment)
                for fault in options.fault or FAULTS
                for moment in moments_of(installed, options.moments)
            ]
    with ThreadPoolExecutor(options.jobs) as pool:
        for case in pool.map(lambda case: case.run(_place_of(case, work)), cases):
            _print(case)
    if not options.keep:
        for case in cases:
            shutil.rmtree(_place_of(case, work), ignore_errors=True)
    table = table_of(cases)
    print(f"\n{table}")
    failed = sum(bool(case.problems) for case in cases)
    print(f"\n{len(cases)} cases, {failed} with problems")
    if options.write:
        write(table)
    return 1 if failed else 0


def _place_of(case: Case, work: Path) -> Path:
    return work / case.installed.application.name / "cases"


def _result_of(case: Case) -> str:
    return "put back at once" if case.by_itself else "put back by the printed command"


def _print(case: Case) -> None:
    installed = case.installed
    moment = f"after statement {case.moment} of {installed.statements}"
    result = "PROBLEMS" if case.problems else _result_of(case)
    print(f"{installed.application.name}: {SHOWN[case.fault]} {moment}: {result}", flush=True)
    for problem in case.problems:
        print(f"    - {problem}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
