"""The program at a terminal of 80 columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pexpect
from helpers import PROGRAMS
from shell import Shell


@contextmanager
def terminal(
    shell: Shell, *arguments: str, colours: bool = False, program: str = ""
) -> Iterator[Any]:
    """Start ``soulsense-db``, or one of tests/programs, at a terminal of its own."""
    env = {**shell.env, "TERM": "xterm-256color", "COLUMNS": "80"}
    if colours:
        del env["NO_COLOR"]
    child = pexpect.spawn(
        sys.executable,
        [str(PROGRAMS / program)] if program else ["-m", "soulsense_db", *arguments],
        cwd=str(shell.folder),
        env=env,
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=30,
    )
    try:
        yield child
    finally:
        child.close(force=True)


def end_of(child: Any) -> int:
    """Return the exit code, once the program has ended."""
    child.expect(pexpect.EOF)
    child.wait()
    return int(child.exitstatus)
