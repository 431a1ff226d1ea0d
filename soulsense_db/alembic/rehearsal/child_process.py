"""Starts the child in which migrations are rehearsed, listens to it, and ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any

from soulsense_db.alembic.rehearsal.errors import no_process
from soulsense_db.errors import without_passwords
from soulsense_db.shown_text import printable

# It imports what it needs before it is asked for something, and ends where it never is.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from soulsense_db.alembic.rehearsal.child import main; "
    "request = sys.stdin.buffer.readline(); request and main(json.loads(request))"
)
_LINES = 40
_LONGEST_LINE = 500
_JOIN_SECONDS = 2.0
# What Alembic logs of each run, in the format of its templates or another: the report has it.
_LOG_OF_ALEMBIC = re.compile(
    r"\bINFO\b\W+alembic\.|\b(?:Context impl \w+\.|Will assume (?:non-)?transactional DDL\.)\s*$"
    r"|\bRunning \w+ \S* ?-> \S*"
)
_SWITCHED = {"SOULSENSE_BACKUP": "0"}
_REHEARSING = "SOULSENSE_REHEARSAL"
_POLL_SECONDS = 0.2


@dataclass
class Told:
    """What a child told, and how it ended.

    ``code``: its exit code, below 0 for a signal; ``timed_out``: whether it was ended by us.
    """

    events: list[dict[str, Any]] = field(default_factory=list)
    output: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    code: int = 0
    timed_out: bool = False

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one kind."""
        return [one for one in self.events if one["kind"] == kind]

    @property
    def has_ended(self) -> bool:
        """Whether it came to its own end."""
        return bool(self.of("ended")) and not self.timed_out


class ReadyChild:
    """A process that makes itself ready, while the caller does something else."""

    def __init__(self, *, is_trial: bool = True) -> None:
        self.process = _started(is_trial=is_trial)
        self.has_run = False
        self._write(sys.path)

    def ask(self, request: dict[str, Any]) -> None:
        """Let it do what the request says."""
        self._write(request)

    def _write(self, line: Any) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it died before it could read: its exit code tells
            self.process.stdin.write(json.dumps(line).encode() + b"\n")
            self.process.stdin.flush()


@contextmanager
def ready_child() -> Iterator[ReadyChild]:
    """Start a child for one :func:`run_child`; it is gone at the end of the block."""
    child = ReadyChild()
    try:
        yield child
    finally:
        if not child.has_run:  # else it is gone, and its number may be another process's
            _end(child.process)
            for stream in (child.process.stdin, child.process.stdout, child.process.stderr):
                with suppress(OSError):
                    if stream is not None:
                        stream.close()


def run_child(
    request: dict[str, Any],
    *,
    deadline: float | None,
    is_trial: bool = True,
    poll: Callable[[], object] | None = None,
    child: ReadyChild | None = None,
) -> Told:
    """Run the child for ``request`` to its end, or to ``deadline``, and return what it told.

    ``is_trial``: whether the migrations are told that it is a rehearsal; ``poll`` is called now and
    then, and what it raises ends the child; ``child``: one that is ready, has not run yet, and
    stands for ``is_trial``.

    It, and all processes that it started in its group, are gone then, whatever is raised here.
    """
    told = Told()
    child = child or ReadyChild(is_trial=is_trial)
    child.has_run = True
    process = child.process
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [
        _reading(process.stdout, lambda line: _take_event(told, line)),
        _reading(process.stderr, lambda line: _take_output(told, line)),
    ]
    try:
        child.ask(request)
        try:
            _wait(process, deadline, poll)
        except subprocess.TimeoutExpired:
            told.timed_out = True
    finally:
        _end(process)
        for reader in readers:  # what it has told is in the pipes; others may hold them open
            reader.join(_JOIN_SECONDS)
        with suppress(OSError):  # it never read all of it
            process.stdin.close()
    told.code = process.returncode
    return told


def _wait(
    process: subprocess.Popen[bytes],
    deadline: float | None,
    poll: Callable[[], object] | None,
) -> None:
    """Wait for its end; raises ``TimeoutExpired`` at the ``deadline``."""
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if poll is None:
            process.wait(left)
            return
        poll()
        try:
            process.wait(_POLL_SECONDS if left is None else min(left, _POLL_SECONDS))
            return
        except subprocess.TimeoutExpired:
            if left is not None and left <= _POLL_SECONDS:
                raise


def _started(*, is_trial: bool) -> subprocess.Popen[bytes]:
    options: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {}
    pipe = subprocess.PIPE
    environment = {**os.environ, **_SWITCHED, _REHEARSING: "1"}
    if not is_trial:
        del environment[_REHEARSING]
    try:
        return subprocess.Popen(
            # -P: the current directory is no place for modules until the request says so.
            [sys.executable, "-P", "-c", _START],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=environment,
            **options,
        )
    except OSError as error:
        raise no_process(str(error)) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child and its group: also what it left running when it ended by itself."""
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _reading(stream: IO[bytes], take: Any) -> threading.Thread:
    def read() -> None:
        # Closed here: where a program that left the group holds the other end, nobody waits.
        with stream:
            for line in stream:
                take(line)

    thread = threading.Thread(target=read, name="soulsense_db-rehearsal", daemon=True)
    thread.start()
    return thread


def _take_event(told: Told, line: bytes) -> None:
    with suppress(ValueError):  # cut off, where it was killed
        event = json.loads(line)
        if isinstance(event, dict) and "kind" in event:
            told.events.append(event)


def _take_output(told: Told, line: bytes) -> None:
    text = printable(line.decode(errors="replace").rstrip("\r\n"))
    if _LOG_OF_ALEMBIC.search(text):
        return
    told.output.append(without_passwords(text)[:_LONGEST_LINE])
