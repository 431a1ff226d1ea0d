"""The programs of the server's own version: where they are, and how they are run."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from soulsense_db.drivers.mariadb.errors import no_tool, tool_failed
from soulsense_db.drivers.mariadb.login import Login, environment

# "mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB", and from 11 on "from 11.4.2-MariaDB".
_VERSION = re.compile(r"(?:Distrib|from) (\d+)\.(\d+)\.\d+-MariaDB")
_FOLDERS = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/usr/local/mysql/bin")
_STOP_SECONDS = 5.0
CHUNK = 256 * 1024
# As much as the server allows: a row may be as large as that.
_LARGEST = "--max-allowed-packet=1G"


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs in ``folder``, of the server's version; ``name``: of the database, for errors."""

    folder: Path
    version: str
    name: str

    @contextmanager
    def dumping(self, login: Login, *arguments: str) -> Iterator[IO[bytes]]:
        """Run ``mariadb-dump`` and yield what it writes.

        At the end of the block it must have ended well, having been read to its end. When the
        block fails, it is stopped.
        """
        with login.options_file() as options, tempfile.TemporaryFile() as said:
            process = self._start("mariadb-dump", options, arguments, said, stdin=False)
            assert process.stdout is not None
            with process.stdout as output:
                try:
                    yield output
                    while output.read(CHUNK):  # else it would die of a closed pipe
                        pass
                    status = process.wait()
                except BaseException:
                    _stop(process)
                    raise
            self._require("mariadb-dump", status, said)

    def load(
        self,
        login: Login,
        schema: str,
        chunks: Iterable[bytes],
        *,
        poll: Callable[[], object] = lambda: None,
    ) -> None:
        """Have the program ``mariadb`` execute what ``chunks`` are, in ``schema``.

        ``poll`` is called before each, and what it raises stops all.
        """
        with login.options_file() as options, tempfile.TemporaryFile() as said:
            arguments = (_LARGEST, "--default-character-set=utf8mb4", f"--database={schema}")
            process = self._start("mariadb", options, arguments, said, stdin=True)
            assert process.stdin is not None
            try:
                for chunk in chunks:
                    poll()
                    try:
                        process.stdin.write(chunk)
                        process.stdin.flush()
                    except BrokenPipeError:
                        break
                with suppress(BrokenPipeError):
                    process.stdin.close()
                status = process.wait()
            except BaseException:
                _stop(process)
                raise
            self._require("mariadb", status, said)

    def _start(
        self,
        program: str,
        options: Path,
        arguments: Iterable[str],
        said: IO[bytes],
        *,
        stdin: bool,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(self.folder / program), f"--defaults-file={options}", *arguments],
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if stdin else subprocess.PIPE,
            stderr=said,
            env=environment(),
            bufsize=CHUNK,
        )

    def _require(self, program: str, status: int, said: IO[bytes]) -> None:
        if status != 0:
            said.seek(0)
            raise tool_failed(program, self.name, said.read(CHUNK).decode(errors="replace"))


def find_tools(version: str, *, name: str) -> Tools:
    """Return the programs of a server's ``version``: of the same first two numbers.

    Raises :class:`~soulsense_db.errors.ServerToolError`.
    """
    wanted = series(version)
    others: list[str] = []
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    for folder in map(Path, dict.fromkeys([*filter(None, path), *_FOLDERS])):
        found = _version_of(folder / "mariadb-dump")
        if found == wanted and _version_of(folder / "mariadb") == wanted:
            return Tools(folder, version, name)
        if found is not None:
            others.append(f"{folder / 'mariadb-dump'} is of version {found[0]}.{found[1]}")
    raise no_tool("mariadb-dump", version, others)


def series(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version: what lies between such series may not fit."""
    first, second, *_ = version.split(".")
    return int(first), int(re.match(r"\d*", second)[0] or 0)  # type: ignore[index]


def _version_of(program: Path) -> tuple[int, int] | None:
    """Return the first two numbers of a program's version; None where it is none."""
    try:
        changed = program.stat().st_mtime_ns
    except OSError:
        return None
    return _asked(program, changed)


@functools.lru_cache(maxsize=64)
def _asked(program: Path, _changed: int) -> tuple[int, int] | None:
    try:
        said = subprocess.run(
            [str(program), "--no-defaults", "--version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(said)
    return (int(match[1]), int(match[2])) if match else None


def _stop(process: subprocess.Popen[bytes]) -> None:
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
