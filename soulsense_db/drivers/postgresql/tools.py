"""The programs of the server's own version: where they are, and how they are run.

A ``pg_dump`` of an older version refuses a newer server, and what a newer one writes an older
``pg_restore`` cannot read: each server has its own.
"""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from soulsense_db.drivers.postgresql.statements import quoted_if_needed
from soulsense_db.drivers.postgresql.system_user import system_user
from soulsense_db.drivers.postgresql.tool_errors import no_tool, tool_failed, tool_killed
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
)
from soulsense_db.errors import BackupError

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
# Where packages put the programs of a version: Debian, Red Hat, Homebrew on two kinds of Mac.
_PACKAGED = (
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
)
# It starts one or another version by the cluster: the programs themselves are in the folders above.
_DEBIAN_S_CHOOSER = "pg_wrapper"
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs in ``folder``, of the server's version; ``name``: of the database, for errors.

    ``jobs``: how many tables they dump or restore at once.
    """

    folder: Path
    version: int
    name: str
    jobs: int = 1

    @contextmanager
    def reading(
        self, program: str, *arguments: str, environment: Mapping[str, str]
    ) -> Iterator[BufferedReader]:
        """Run a program and yield what it writes to standard output.

        At the end of the block it must have ended well, having been read to its end. When the
        block fails, it is stopped. Raises what :func:`tool_failed` makes of it.
        """
        command = [str(self.folder / program), *arguments]
        failure = functools.partial(self._failure, program, user_of(environment))
        with output_of(command, environment, failure) as output:
            yield output

    def run(
        self,
        program: str,
        *arguments: str,
        environment: Mapping[str, str],
        poll: Callable[[], object] = lambda: None,
    ) -> None:
        """Run a program to its end; ``poll`` is called meanwhile, and what it raises stops it."""
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [str(self.folder / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=dict(environment),
            )
            try:
                while True:
                    poll()
                    try:
                        status = process.wait(_POLL_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        continue
            except BaseException:
                stop(process)
                raise
            if status != 0:
                raise self._failure(program, user_of(environment), status, read_back(said))

    def _failure(self, program: str, user: str, status: int, said: str) -> BackupError:
        if status < 0:
            return tool_killed(program, self.name, -status)
        return tool_failed(program, self.name, said, user=user)


def user_of(environment: Mapping[str, str]) -> str:
    """Return the user as whom a program connects, as a statement names him."""
    return quoted_if_needed(environment.get("PGUSER") or system_user())


def find_tools(version: int, *, name: str, beside_server: Path | None = None) -> Tools:
    """Return the programs of a server's major ``version``.

    ``beside_server``: where the server's own are, if that is this machine. Raises
    :class:`~soulsense_db.errors.ServerToolError`.
    """
    others: list[str] = []
    beside = [] if beside_server is None else [beside_server]
    for folder in (*folders_of(version), *beside):
        found = version_of(folder / "pg_dump")
        if found == version and version_of(folder / "pg_restore") == version:
            return Tools(folder, version, name)
        if found is not None:
            others.append(f"{folder / 'pg_dump'} is of version {found}")
    raise no_tool("pg_dump", version, others)


def tools_in(folder: Path, version: int, *, name: str) -> Tools:
    """Return the programs of a server's major ``version`` that are in ``folder``.

    Raises :class:`~soulsense_db.errors.ServerToolError`.
    """
    server = f"PostgreSQL {version}"
    if _is_chooser(folder / "pg_dump"):  # what it starts for this version
        folder = Path(_PACKAGED[0].format(version))
    for program in (folder / "pg_dump", folder / "pg_restore"):
        found = version_of(program)
        if found is None:
            raise not_in_named_directory(program, server)
        if found != version:
            raise other_version_in_named_directory(
                program, server, str(found), is_older=found < version
            )
    return Tools(folder, version, name)


def folders_of(version: int) -> Iterator[Path]:
    """Yield where the programs of a version are looked for."""
    yield from folders_on_path()
    yield from (Path(pattern.format(version)) for pattern in _PACKAGED)


def _is_chooser(program: Path) -> bool:
    return program.resolve().name == _DEBIAN_S_CHOOSER


def version_of(program: Path) -> int | None:
    """Return the major version of a program; None where it is none."""
    try:
        changed = program.stat().st_mtime_ns
        if _is_chooser(program):
            return None
    except OSError:
        return None
    return _asked(program, changed)


@functools.lru_cache(maxsize=64)
def _asked(program: Path, _changed: int) -> int | None:
    match = _VERSION.search(said_by([str(program), "--version"]))
    return int(match[1]) if match else None
