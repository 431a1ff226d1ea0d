"""A session of ``psql`` that is given statements, one after the other, and can be stopped.

What it has not committed is gone when it ends, however that is: the server takes it back.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

from soulsense_db.drivers.postgresql.tool_errors import no_tool, tool_failed, tool_killed
from soulsense_db.drivers.postgresql.tools import Tools, user_of
from soulsense_db.drivers.server_programs import read_back, stop, widen
from soulsense_db.errors import BackupError

T = TypeVar("T")

_PROGRAM = "psql"
_POLL_SECONDS = 0.1
_CANCEL_SECONDS = 2.0
# No file of the user's is read, nothing but rows is written, and the first error ends it. The code
# of an error is told with it: its words are in the server's language.
_OPTIONS = (
    *("--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"),
    "--set=VERBOSITY=verbose",
)
_CODED = re.compile(r"^[^\s:]+:  ([0-9A-Z]{5}): (.*)", re.MULTILINE)
_NO_ERRORS = ("00", "01", "02")


class Psql:
    """A running ``psql``; ``poll`` is called while it works, and what it raises stops it.

    ``tells``: whether it tells the user of a wait that takes long.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        said: IO[bytes],
        name: str,
        user: str,
        executor: ThreadPoolExecutor,
    ) -> None:
        self._process, self._said, self._name = process, said, name
        self._user, self._executor = user, executor
        self.poll: Callable[[], object] = lambda: None
        self.tells = False

    def execute(self, *statements: str) -> list[str]:
        """Execute statements; return the lines of their rows."""
        return self._executed("".join(f"{one};\n" for one in statements))

    def attempt(self, statement: str, *, unless: str) -> bool:
        """Execute a statement; return False when it fails with the code ``unless``.

        After any error the transaction takes no statement until it is taken back, or a part of it.
        """
        (code,) = self._executed(
            "\\set ON_ERROR_STOP off\n"
            f"{statement};\n"
            "\\set ON_ERROR_STOP on\n"
            "\\echo :SQLSTATE :ERROR\n"
        )
        if code.endswith("false"):
            return True
        if not code.startswith(unless):
            raise self._error()
        return False

    def _executed(self, text: str) -> list[str]:
        end = f"end {secrets.token_hex(8)}"
        text += f"\\echo {end}\n"

        def work() -> list[str]:
            self._write([text.encode(errors="surrogateescape")])
            lines: list[str] = []
            assert self._process.stdout is not None
            for raw in self._process.stdout:
                line = raw.decode(errors="surrogateescape").rstrip("\n")
                if line == end:
                    return lines
                lines.append(line)
            raise self._failed()

        return self._waited(work)

    def feed(self, chunks: Iterable[memoryview]) -> None:
        """Execute what another program writes; rows of it are dropped."""

        def work() -> None:
            self._write([f"\\o {os.devnull}\n".encode()])
            self._write(chunks)
            self._write([b"\n\\o\n"])

        self._waited(work)

    def _write(self, chunks: Iterable[bytes] | Iterable[memoryview]) -> None:
        assert self._process.stdin is not None
        try:
            for chunk in chunks:
                self._process.stdin.write(chunk)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed() from None

    def _waited(self, work: Callable[[], T]) -> T:
        future = self._executor.submit(work)
        try:
            while not future.done():
                wait([future], timeout=_POLL_SECONDS)
                self.poll()
        except BaseException:
            self._interrupt()  # which ends the work, too
            raise
        return future.result()

    def _interrupt(self) -> None:
        """Have it cancel its statement, which the server would go on with when it only ended."""
        with suppress(ValueError, subprocess.TimeoutExpired):  # Windows has no such signal
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_CANCEL_SECONDS)
        stop(self._process)

    def _failed(self) -> BackupError:
        status = self._process.wait()
        if status < 0:
            return tool_killed(_PROGRAM, self._name, -status)
        return self._error()

    def _error(self) -> BackupError:
        said = read_back(self._said)
        # Notices may come before it, and what was attempted.
        if errors := [one for one in _CODED.finditer(said) if not one[1].startswith(_NO_ERRORS)]:
            code, text = errors[-1].groups()
            return tool_failed(_PROGRAM, self._name, text, user=self._user, code=code)
        own = [line for line in said.splitlines() if "error:" in line]
        return tool_failed(_PROGRAM, self._name, "\n".join(own) or said, user=self._user)


def program_of(tools: Tools) -> Path:
    """Return the path of ``psql``; raises :class:`~soulsense_db.errors.ServerToolError`."""
    program = tools.folder / _PROGRAM
    if not program.exists():
        raise no_tool(_PROGRAM, tools.version, ())
    return program


@contextmanager
def session(tools: Tools, environment: Mapping[str, str]) -> Iterator[Psql]:
    """Run ``psql`` of ``tools`` until the block ends; what is not committed by then is undone."""
    program = program_of(tools)
    with (
        tempfile.TemporaryFile() as said,
        ThreadPoolExecutor(1, thread_name_prefix="soulsense_db-psql") as executor,
    ):
        process = subprocess.Popen(
            [str(program), *_OPTIONS, "--no-password"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=dict(environment),
        )
        assert process.stdin is not None and process.stdout is not None
        widen(process.stdin)
        try:
            yield Psql(process, said, tools.name, user_of(environment), executor)
        finally:
            stop(process)
            process.stdout.close()
