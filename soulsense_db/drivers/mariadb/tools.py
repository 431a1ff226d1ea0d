"""The programs of the server's own version: where they are, and how they are run."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from soulsense_db.drivers.mariadb.errors import no_tool, tool_failed
from soulsense_db.drivers.mariadb.login import Login, environment
from soulsense_db.drivers.server_errors import (
    not_in_named_directory,
    other_version_in_named_directory,
)
from soulsense_db.drivers.server_programs import (
    folders_on_path,
    output_of,
    read_back,
    said_by,
    stop,
    widen,
)
from soulsense_db.errors import BackupError

# "mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB", and from 11 on "from 11.4.2-MariaDB".
_VERSION = re.compile(r"(?:Distrib|from) (\d+)\.(\d+)\.\d+-MariaDB")
_FOLDERS = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/usr/local/mysql/bin")
CHUNK = 256 * 1024
# As much as the server allows: a row may be as large as that.
_LARGEST = "--max-allowed-packet=1G"
_LOADING = (
    _LARGEST,
    "--default-character-set=utf8mb4",
    # A routine is made as it was: with its comments, and its line feeds with what is before them.
    "--comments",
    "--binary-mode",
    # Rows that were there came to be so: without the check, or in another time zone.
    "--init-command=SET SESSION check_constraint_checks = 0",
)
_SANDBOX = re.compile(rb"\A/\*M?!999999\\- [^\n]*\n")


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs in ``folder``, of the server's version; ``name``: of the database, for errors."""

    folder: Path
    version: str
    name: str

    @contextmanager
    def dumping(self, login: Login, *arguments: str) -> Iterator[BufferedReader]:
        """Run ``mariadb-dump`` and yield what it writes.

        At the end of the block it must have ended well, having been read to its end. When the
        block fails, it is stopped.
        """
        program = "mariadb-dump"
        failure = functools.partial(self._failure, program)
        with login.options_file() as options:
            command = self._command(program, options, arguments)
            with output_of(command, environment(), failure) as output:
                yield output

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
            arguments = (*_LOADING, f"--database={schema}")
            process = subprocess.Popen(
                self._command("mariadb", options, arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=environment(),
                bufsize=CHUNK,
            )
            assert process.stdin is not None
            widen(process.stdin)
            try:
                for chunk in _without_sandbox(chunks):
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
                stop(process)
                raise
            if status != 0:
                raise self._failure("mariadb", status, read_back(said))

    def _command(self, program: str, options: Path, arguments: Iterable[str]) -> list[str]:
        return [str(self.folder / program), f"--defaults-file={options}", *arguments]

    def _failure(self, program: str, _status: int, said: str) -> BackupError:
        return tool_failed(program, self.name, said)


def _without_sandbox(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Leave out the line after which the program is to know no commands.

    In binary mode it knows none, and with some versions not even that line (MDEV-34203).
    """
    iterator = iter(chunks)
    yield _SANDBOX.sub(b"", next(iterator, b""), count=1)
    yield from iterator


def find_tools(version: str, *, name: str) -> Tools:
    """Return the programs of a server's ``version``: of the same first two numbers.

    Raises :class:`~soulsense_db.errors.ServerToolError`.
    """
    wanted = series(version)
    others: list[str] = []
    for folder in dict.fromkeys([*folders_on_path(), *map(Path, _FOLDERS)]):
        found = version_of(folder / "mariadb-dump", _VERSION)
        if found == wanted and version_of(folder / "mariadb", _VERSION) == wanted:
            return Tools(folder, version, name)
        if found is not None:
            others.append(f"{folder / 'mariadb-dump'} is of version {found[0]}.{found[1]}")
    raise no_tool("mariadb-dump", version, others)


def tools_in(folder: Path, version: str, *, name: str) -> Tools:
    """Return the programs of a server's ``version`` that are in ``folder``.

    Raises :class:`~soulsense_db.errors.ServerToolError`.
    """
    server, wanted = f"MariaDB {version}", series(version)
    for program in (folder / "mariadb-dump", folder / "mariadb"):
        found = version_of(program, _VERSION)
        if found is None:
            raise not_in_named_directory(program, server)
        if found != wanted:
            raise other_version_in_named_directory(
                program, server, f"{found[0]}.{found[1]}", is_older=found < wanted
            )
    return Tools(folder, version, name)


def series(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version: what lies between such series may not fit."""
    first, second, *_ = version.split(".")
    return int(first), int(re.match(r"\d*", second)[0] or 0)  # type: ignore[index]


def version_of(program: Path, said_as: re.Pattern[str]) -> tuple[int, int] | None:
    """Return the first two numbers of a program's version; None where it is none.

    ``said_as``: what both are in, as its two groups.
    """
    try:
        changed = program.stat().st_mtime_ns
    except OSError:
        return None
    match = said_as.search(_asked(program, changed))
    return (int(match[1]), int(match[2])) if match else None


@functools.lru_cache(maxsize=64)
def _asked(program: Path, _changed: int) -> str:
    return said_by([str(program), "--no-defaults", "--version"])
