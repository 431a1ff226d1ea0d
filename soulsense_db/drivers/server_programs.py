"""Run the programs of a database server, which come in its own version."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import IO

CHUNK = 1024 * 1024
_STOP_SECONDS = 5.0

Failure = Callable[[int, str], Exception]
"""Makes an error of the status of a program and of what it said on standard error."""


def folders_on_path() -> Iterator[Path]:
    """Yield the directories in which programs are looked for."""
    yield from map(Path, filter(None, os.environ.get("PATH", os.defpath).split(os.pathsep)))


@contextmanager
def output_of(
    command: Sequence[str], environment: Mapping[str, str], failure: Failure
) -> Iterator[BufferedReader]:
    """Run ``command`` and yield what it writes to standard output.

    At the end of the block it must have ended well, having been read to its end: else what
    ``failure`` makes of it is raised. When the block fails, it is stopped.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            env=dict(environment),
            bufsize=CHUNK,
        )
        assert isinstance(process.stdout, BufferedReader)
        widen(process.stdout)
        with process.stdout as output:
            try:
                yield output
                while output.read(CHUNK):  # else it would die of a closed pipe
                    pass
                status = process.wait()
            except BaseException:
                stop(process)
                raise
        if status != 0:
            raise failure(status, read_back(said))


def widen(pipe: IO[bytes]) -> None:
    """Let a pipe hold a whole chunk, where the system allows that.

    With Linux's 64 KiB a program waits for us, and we for it, many times a chunk: a snapshot took
    twice as long (measured).
    """
    # There is none on other systems; or it is more than the administrator lets a user have.
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)


def chunks_of(output: BufferedIOBase) -> Iterator[memoryview]:
    """Yield what can be read, in chunks that are valid until the next one: none is allocated."""
    chunk = memoryview(bytearray(CHUNK))
    while read := output.readinto(chunk):
        yield chunk[:read]


def read_back(said: IO[bytes]) -> str:
    """Return what a program wrote to a temporary file; of much, whole lines at both ends.

    ``mariadb`` repeats a statement that failed before it says why: that may be a row of megabytes.
    """
    size = said.seek(0, os.SEEK_END)
    said.seek(0)
    found = said.read(CHUNK)
    if size > CHUNK:
        said.seek(max(CHUNK, size - CHUNK))
        found += b"\n" + said.read().partition(b"\n")[2]
    return found.decode(errors="replace")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program; the server ends its session when the connection is gone."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()


def said_by(command: Sequence[str]) -> str:
    """Return what ``command`` prints of itself, such as its version; nothing where it is none."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=10
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
