"""Programs in forks of a process that has all imports done.

To start an interpreter and to import SQLAlchemy takes longer than what most commands do.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from helpers import PROGRAMS, clean_environment
from measured import is_measuring

# What an interpreter looks at when it starts: a fork has it as the server had it.
_AT_THE_START = ("PYTHON", "LC_", "LANG", "LD_", "COVERAGE_")
_NAMES = {"soulsense_db": "soulsense-db", "alembic": "alembic"}
_ENDING = 16  # bytes of an exit code


@contextmanager
def served(folder: Path, env: Mapping[str, str]) -> Iterator[Path]:
    """Yield the address of a server that runs commands; its ``folder`` is removed at the end."""
    address = folder / "server"
    server = subprocess.Popen(
        [sys.executable, "-P", PROGRAMS / "command_server.py", address],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield address
    finally:
        server.kill()
        server.communicate()
        shutil.rmtree(folder)


@cache
def _server(*, measures: bool) -> tuple[Path, Mapping[str, str]]:
    """Return the address of this process's own, and its environment.

    ``measures``: coverage, as the test does; it is cached for both.
    """
    del measures  # the environment says so
    stack, env = ExitStack(), clean_environment()
    atexit.register(stack.close)
    return stack.enter_context(served(Path(tempfile.mkdtemp()), env)), env


def run(
    module: str,
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` to its end, in a fork where that cannot be told from outside."""
    command = [sys.executable, "-m", module, *arguments]
    address, base = _server(measures=is_measuring())
    if _of_the_start(env) != _of_the_start(base):
        return subprocess.run(
            command,
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    # With -m modules are looked for in the current folder first.
    asked = [[_NAMES[module], *arguments], str(cwd), dict(env), str(cwd)]
    with (
        socket.socket(socket.AF_UNIX) as client,
        Path(os.devnull).open("rb") as nothing,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as error,
    ):
        client.settimeout(timeout)
        client.connect(str(address))
        socket.send_fds(
            client, [json.dumps(asked).encode()], [one.fileno() for one in (nothing, out, error)]
        )
        code = int(client.recv(_ENDING))
        said = []
        for stream in (out, error):
            stream.seek(0)
            said.append(stream.read().decode())
    return subprocess.CompletedProcess(command, code, *said)


def _of_the_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_AT_THE_START)}
