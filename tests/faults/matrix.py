"""Run many cases side by side, each in a copy of a folder that was made ready once.

The folders lie in memory where that is possible: the cases change what a call returns, not how long
a disk takes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Any, TypeVar

from helpers import Mode

from faults import mirrored
from faults.engines import PLAIN
from faults.invariants import Facts
from faults.report import Report
from faults.strace import ALONE, CHANGING, UNEXPECTED, Call, Zygote, calls_of

T = TypeVar("T")

Outcome = tuple[str, list[str]]
"""What became of a case, and what was violated."""
WORKERS = 2
FOLDER = "app"
"""The folder of the database, in a place with what is outside of it."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """An operation without faults: facts of before and after, its calls.

    ``root``: all that there was before, the folder of the database and what is outside of it.
    """

    operation: str
    mode: Mode
    engine: str
    root: Path
    before: Facts
    after: Facts
    calls: tuple[Call, ...]

    @property
    def name(self) -> str:
        """What a case is called after."""
        through = "" if self.engine == PLAIN else f", {self.engine}"
        return f"{self.operation} ({self.mode}{through})"


@dataclass
class Worker:
    """A zygote with the one place in which its cases run."""

    zygote: Zygote
    place: Path

    @property
    def root(self) -> Path:
        """Where the case is that runs, with what is outside of its folder."""
        return self.place / "case"

    @property
    def folder(self) -> Path:
        """The folder of its database."""
        return self.root / FOLDER

    def fresh(self, baseline: Baseline) -> None:
        """Make all what it was before the operation."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.fill(baseline)

    def fill(self, baseline: Baseline) -> None:
        """Put there what was there before the operation."""
        shutil.copytree(baseline.root, self.root, dirs_exist_ok=True)
        mirrored.move_record(self.folder)

    def run(self, baseline: Baseline, *options: str, sabotaged: str = "") -> dict[str, Any]:
        """Run the operation in a fresh folder under strace; return what became of it."""
        self.fresh(baseline)
        return self.zygote.run(
            *options,
            engine=baseline.engine,
            name=baseline.operation,
            folder=str(self.folder),
            sabotaged=sabotaged,
        )

    def check(
        self, baseline: Baseline, answer: dict[str, Any] | None, *, sabotaged: str = ""
    ) -> Outcome:
        """Return the outcome and the violations of the case in the folder.

        ``answer``: what the operation returned; None when it was killed.
        """
        found = self.zygote.ask(
            "check",
            engine=baseline.engine,
            folder=str(self.folder),
            name=baseline.operation,
            base=baseline.before,
            after=baseline.after,
            answer=answer,
            sabotaged=sabotaged,
        )
        return found["outcome"], found["violations"]


class Matrix:
    """The workers, and the operations that were run without faults.

    ``full``: whether all cases are wanted, not a sample; ``seed`` of what is drawn.
    """

    def __init__(self, place: Path, *, full: bool, seed: int, report: Report) -> None:
        self.full = full
        self.seed = seed
        self._report = report
        self._place = place
        self._workers: SimpleQueue[Worker] = SimpleQueue()
        self._baselines: dict[tuple[str, Mode, str, int], Baseline] = {}
        with ThreadPoolExecutor(WORKERS) as pool:
            self._zygotes = list(pool.map(Zygote, range(WORKERS)))
        for number, zygote in enumerate(self._zygotes):
            self._workers.put(Worker(zygote, place / f"worker{number}"))

    def close(self) -> None:
        """End the workers and remove all folders."""
        for zygote in self._zygotes:
            zygote.close()
        shutil.rmtree(self._place, ignore_errors=True)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """Borrow a worker."""
        worker = self._workers.get()
        try:
            yield worker
        finally:
            self._workers.put(worker)

    def baseline(
        self, operation: str, mode: Mode, *, engine: str = PLAIN, filler: int = 0
    ) -> Baseline:
        """Return the run without faults of an operation, made when it is first asked for.

        ``engine``: the kind through which it goes; ``filler``: how many bytes each database has
        beside its rows.
        """
        key = operation, mode, engine, filler
        if key not in self._baselines:
            with self.worker() as worker:
                self._baselines[key] = self._run_without_faults(worker, *key)
        return self._baselines[key]

    def try_all(
        self,
        fault: str,
        baseline: Baseline,
        cases: Sequence[T],
        run: Callable[[Worker, T], Outcome],
        *,
        sample: int,
    ) -> None:
        """Run each case, count the outcomes, and fail if anything was violated.

        ``sample``: how many cases are drawn, beside the first, when not all are wanted.
        """
        if not self.full:
            name = f"{fault} {baseline.operation} {baseline.mode}"
            cases = [cases[0], *self.draw(name, cases[1:], sample)]
        for outcome in self.require_nothing(baseline, cases, run):
            self.record(fault, baseline.operation, outcome)

    def record(self, fault: str, operation: str, outcome: str) -> None:
        """Count a case for the row ``operation`` of the table ``fault``."""
        self._report.record(fault=fault, operation=operation, outcome=outcome)

    def draw(self, name: str, cases: Sequence[T], number: int) -> list[T]:
        """Return up to ``number`` of the cases, drawn with the seed and ``name``."""
        return Random(f"{self.seed} {name}").sample(cases, min(number, len(cases)))

    def require_nothing(
        self, baseline: Baseline, cases: Sequence[T], run: Callable[[Worker, T], Outcome]
    ) -> list[str]:
        """Run each case and fail if anything was violated; return the outcomes."""
        violations: list[str] = []
        outcomes = []
        for case, (outcome, found) in self.each(cases, run):
            outcomes.append(outcome)
            violations += [f"{baseline.name}, {case}: {violation}" for violation in found]
        shown = "\n".join(violations[:50])
        assert not violations, f"{len(violations)} violations in {len(cases)} cases:\n{shown}"
        return outcomes

    def each(
        self, cases: Sequence[T], run: Callable[[Worker, T], Outcome]
    ) -> Iterator[tuple[T, Outcome]]:
        """Yield each case and what ``run(worker, case)`` returned, as many at a time as workers."""

        def work(case: T) -> Outcome:
            with self.worker() as worker:
                return run(worker, case)

        with ThreadPoolExecutor(WORKERS) as pool:
            yield from zip(cases, pool.map(work, cases), strict=True)

    def _run_without_faults(
        self, worker: Worker, operation: str, mode: Mode, engine: str, filler: int
    ) -> Baseline:
        root = self._place / f"{operation} {mode} {engine} {filler}"
        made = worker.place / "made"
        worker.zygote.ask(
            "prepare", name=operation, mode=mode, folder=str(made / FOLDER), filler=filler
        )
        # Moved: backups of a database that is still at its old place are not those of a copy.
        shutil.move(made, root)
        baseline = Baseline(operation, mode, engine, root, {}, {}, ())
        worker.fresh(baseline)
        before = worker.zygote.ask("facts", folder=str(worker.folder), name=operation)
        trace = worker.place / "trace"
        names = ",".join([*CHANGING, *UNEXPECTED])
        ended = worker.run(
            baseline, *ALONE, "-y", "-s", "64", "-o", str(trace), "-e", f"trace={names}"
        )
        assert ended["status"] == 0 and ended["answer"] == {"error": "", "said": ""}, ended
        after = worker.zygote.ask("facts", folder=str(worker.folder), name=operation)
        calls = tuple(calls_of(trace, worker.root))
        unknown = {call.name for call in calls} & set(UNEXPECTED)
        assert not unknown, f"calls that change files and are not put under faults: {unknown}"
        return replace(baseline, before=before, after=after, calls=calls)
