"""Run a case under strace: record its system calls, or make one of them fail or the last one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.engines import PLAIN

# Every call that changes a file or a directory, as far as Python and SQLite on Linux make them.
CHANGING = (
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "unlink",
    "ftruncate",
    "mkdir",
    "rmdir",
    "chmod",
    "fchmod",
    "fchown",
    "lchown",
    "link",
    # What a mirror in a directory makes, inside of the directory that it has open.
    "renameat",
    "unlinkat",
    "mkdirat",
    "linkat",
)
# Those that would change one as well: seen in a trace, they have to be added above.
UNEXPECTED = (
    *("creat", "open", "writev", "pwritev", "pwritev2", "truncate", "fallocate", "sendfile"),
    *("copy_file_range", "splice", "renameat2", "fchmodat"),
    *("symlink", "symlinkat", "mknod", "mknodat", "sync_file_range", "syncfs", "sync"),
    *("msync", "io_uring_enter", "chown", "fchownat"),
)

# With its threads, and without the programs that it starts: they count calls of their own.
ALONE = ("-b", "execve")

_LINE = re.compile(
    r"(?P<thread>\d+) +(?P<name>\w+)\((?P<arguments>.*?)"
    r"(?:\) += (?P<result>.*)| <unfinished \.\.\.>)$"
)


@dataclass(frozen=True, slots=True)
class Call:
    """One system call: the ``number``-th of its ``name`` in its thread, from 1.

    ``main``: whether that is the main thread.
    """

    name: str
    number: int
    arguments: str
    result: str
    main: bool

    @property
    def changes(self) -> bool:
        """Whether it may change a file or a directory."""
        if self.name == "openat":
            return bool(re.search(r"O_(CREAT|WRONLY|RDWR|TRUNC)", self.arguments))
        return True


class Zygote:
    """The forking process, and what is asked of it.

    It and its tracers share the processor ``number``: a tracer stops its process at every call, and
    that takes a third of the time where no other processor has to be woken.
    """

    def __init__(self, number: int) -> None:
        available = sorted(os.sched_getaffinity(0))
        self._processor = {available[number % len(available)]}
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-m", "faults.zygote"],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(self._process.pid, self._processor)
        assert self._hear() == {"ready": True}

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def ask(self, call: str, *, engine: str = PLAIN, **arguments: Any) -> Any:
        """Have a child do ``call`` through that kind of engine; return its answer."""
        self._say({"call": call, "engine": engine, "arguments": arguments})
        answered = self._hear()["answer"]
        if isinstance(answered, dict) and "crash" in answered:
            raise AssertionError(answered["crash"])
        return answered

    def run(self, *options: str, engine: str, **arguments: Any) -> dict[str, Any]:
        """Run an operation under ``strace`` with ``options``.

        Return ``status`` and ``answer``, and as ``opened`` the paths of what was open before.
        """
        self._say({"call": "run", "engine": engine, "arguments": arguments, "gated": True})
        pid = self._hear()["pid"]
        opened = {
            int(link.name): str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()
        }
        command = ["strace", "-f", "-p", str(pid), *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            os.sched_setaffinity(tracer.pid, self._processor)
            assert tracer.stderr is not None
            first = tracer.stderr.readline()
            assert "attached" in first, first
            self._tell("go")
            answered = self._hear()
            tracer.stderr.read()
        return answered | {"opened": opened}

    def _say(self, message: dict[str, Any]) -> None:
        self._tell(json.dumps(message))

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the zygote died"
        heard: dict[str, Any] = json.loads(line)
        return heard


def calls_of(trace: Path, folder: Path) -> list[Call]:
    """Return the calls of a trace that are about files in ``folder``, all threads together."""
    counts: dict[tuple[str, str], int] = {}
    found = []
    main = None
    for line in trace.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:  # the second half of a call, a signal, an exit
            continue
        name, thread = match["name"], match["thread"]
        main = main or thread
        counts[thread, name] = number = counts.get((thread, name), 0) + 1
        if str(folder) in match["arguments"]:
            result = match["result"] or ""
            found.append(Call(name, number, match["arguments"], result, thread == main))
    return found
