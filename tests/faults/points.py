"""At which calls an operation is killed, or made to fail, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from faults.matrix import Baseline
from faults.strace import ALONE

# What each call can fail with.
ERRORS = {
    "write": ("ENOSPC", "EIO"),
    "pwrite64": ("ENOSPC", "EIO"),
    "fsync": ("ENOSPC", "EIO"),
    "fdatasync": ("ENOSPC", "EIO"),
    "rename": ("ENOSPC", "EIO"),
    "ftruncate": ("ENOSPC", "EIO"),
    "openat": ("EACCES", "EMFILE"),
    # At a mirror: a drive without hard links, credentials that cannot remove anything.
    "renameat": ("ENOSPC", "EIO"),
    "linkat": ("EPERM", "EIO"),
    "unlinkat": ("EACCES", "EIO"),
    "mkdirat": ("EACCES", "EIO"),
}
# Calls so many that at each one the two errors take turns: one of them once, the other for good.
_TAKE_TURNS = {"pwrite64", "openat"}


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A fault at the ``number``-th call of that ``name`` in any thread.

    ``fault``: ``signal=SIGKILL`` or ``error=EIO``; ``for_good``: at all that follow as well.
    """

    name: str
    number: int
    fault: str
    for_good: bool = False

    def __str__(self) -> str:
        when = f"{self.number}+" if self.for_good else str(self.number)
        return f"{self.name}:{self.fault}:when={when}"

    @property
    def options(self) -> tuple[str, ...]:
        """The options of strace that make the fault."""
        return *ALONE, "-o", "/dev/null", "-e", f"trace={self.name}", "-e", f"inject={self}"


def kill_points(baseline: Baseline) -> list[Point]:
    """Return one point for each call that changes a file or a directory."""
    return sorted({Point(name, number, "signal=SIGKILL") for name, number in _changing(baseline)})


def error_points(baseline: Baseline) -> list[Point]:
    """Return the points at which a call fails, once and for good."""
    return sorted(_errors(baseline))


def _errors(baseline: Baseline) -> Iterator[Point]:
    seen = _changing(baseline) | {
        (call.name, call.number) for call in baseline.calls if call.name == "openat"
    }
    for name, number in seen:
        if name not in ERRORS:
            continue
        first, second = ERRORS[name][:: 1 if number % 2 else -1]
        yield Point(name, number, f"error={first}")
        yield Point(name, number, f"error={second}", for_good=True)
        if name not in _TAKE_TURNS:
            yield Point(name, number, f"error={second}")
            yield Point(name, number, f"error={first}", for_good=True)


def _changing(baseline: Baseline) -> set[tuple[str, int]]:
    # A thread that flushes runs by the clock: how often it does is not the same each time.
    return {
        (call.name, call.number)
        for call in baseline.calls
        if call.changes and (call.main or call.name != "fdatasync")
    }
