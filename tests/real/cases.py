"""One application, one fault, one moment: what is done, and what must hold afterwards."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from applications import Application
from rows import counts, differing, digests, revision_of

INJECT = Path(__file__).resolve().parent / "inject"
_SECONDS = 300  # after that a command counts as one that hangs
_OTHERS = ("SOULSENSE_", "PREFECT_", "DSTACK_", "PYTHON", "VIRTUAL_ENV")
_WAY_BACK = re.compile(r"(soulsense-db restore (?!--accept).*?)(?=   Or leave|\n|\Z)")

Finished = subprocess.CompletedProcess[str]


@dataclass(frozen=True, slots=True)
class Installed:
    """An application in its environment, and what an upgrade without a fault makes.

    ``base``: a folder with ``app.db`` at the middle revision; ``statements``: that change something
    in the steps of the whole upgrade; ``steps``: how many those are; ``rows``: of all tables, at
    the middle revision; ``counts``: rows of each table at ``head``.
    """

    application: Application
    bin: Path
    base: Path
    version: str
    statements: int
    steps: int
    rows: int
    head: str
    counts: dict[str, int]


@dataclass(slots=True)
class Case:
    """One fault at one moment: ``problems`` are what must not be.

    After an error every table and the schema are as before, the output names the backup, and the
    next upgrade goes to the end. After SIGKILL the next upgrade refuses, changes nothing and prints
    the command that puts the backup back; that command is run as printed, and then the next upgrade
    goes to the end. After SIGINT the one or the other: an application may end without waiting for
    the thread that migrates.

    ``by_itself``: put back by the process in which the step failed.
    """

    installed: Installed
    fault: str
    moment: int
    put_back: bool = False
    by_itself: bool = False
    problems: list[str] = field(default_factory=list)

    def require(self, holds: object, what: str) -> bool:
        """Note a problem."""
        if not holds:
            self.problems.append(what)
        return bool(holds)

    def run(self, place: Path) -> Case:
        """Go through it in a folder of its own."""
        folder = place / f"{self.fault} {self.moment}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.installed.base, folder)
        try:
            self._run(folder / "app.db")
        except Exception as error:  # noqa: BLE001 - a problem like others
            self.problems.append(f"{type(error).__name__}: {error}")
        return self

    def _run(self, database: Path) -> None:
        application = self.installed.application
        upgrade = partial(
            run_command, self.installed.bin, application, database, application.upgrade
        )
        before = digests(database)
        failed = upgrade(REAL_FAULT=f"{self.fault} {self.moment}")
        self.require(failed.returncode, f"exit code 0 in spite of the fault{end_of(failed)}")
        left = differing(before, digests(database))
        names = [path.name for path in (database.parent / "backups").glob("*.db")]
        told = any(name in failed.stdout + failed.stderr for name in names)
        self.by_itself = told and not left and self.fault != "kill"
        if self.fault == "error":
            self.require(told, f"no backup is named{end_of(failed)}")
        elif not self.by_itself:
            half_run = digests(database)
            refused = upgrade()
            self.require(refused.returncode, "an upgrade of a half-run database was not refused")
            changed = differing(half_run, digests(database))
            self.require(not changed, f"the refused upgrade changed {changed}")
            self._follow_the_way_back(database, refused)
            left = differing(before, digests(database))
        self.put_back = self.require(not left, f"not as before: {', '.join(left)}{end_of(failed)}")
        self._go_on(database, upgrade())

    def _go_on(self, database: Path, again: Finished) -> None:
        self.require(again.returncode == 0, f"the next upgrade failed{end_of(again)}")
        self.require(
            revision_of(database) == self.installed.head, "the next upgrade is not at head"
        )
        found, expected = counts(database), self.installed.counts
        wrong = [table for table in found | expected if found.get(table) != expected.get(table)]
        self.require(not wrong, f"other numbers of rows after the next upgrade: {wrong}")

    def _follow_the_way_back(self, database: Path, refused: Finished) -> None:
        printed = _WAY_BACK.search(refused.stdout + refused.stderr)
        if self.require(printed, f"no way back is printed{end_of(refused)}") and printed:
            command = ["bash", "-c", f"{printed[1]} --yes"]
            back = run_command(self.installed.bin, self.installed.application, database, command)
            self.require(back.returncode == 0, f"{printed[1]} failed{end_of(back)}")


def run_command(
    programs: Path, application: Application, database: Path, command: Sequence[str], **more: str
) -> Finished:
    """Run a command of the application on ``database``, protected by an operator's variable."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_OTHERS)}
    environment |= {"SOULSENSE_BACKUP": "1", "PYTHONPATH": str(INJECT), "COLUMNS": "999"}
    environment |= {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(database.parent)}
    environment |= application.environment(database) | more
    return subprocess.run(
        command,
        env=environment,
        cwd=database.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def end_of(finished: Finished) -> str:
    """Return the exit code and the last lines of a command, to be put behind a problem."""
    lines = (finished.stdout + finished.stderr).rstrip().splitlines()[-12:]
    return "\n      | ".join([f" (exit code {finished.returncode}):", *lines])
