"""Run commands in forks of a process that has all imports done.

    command_server.py ADDRESS

Through the socket ``ADDRESS`` a test asks it to, or ``command_client.py``, which is what a page of
the documentation finds as these commands.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alembic.autogenerate
import alembic.command
import alembic.config
import sqlalchemy.dialects.sqlite  # noqa: F401

import soulsense_db.alembic  # noqa: F401
from soulsense_db.cli import app, main


def page() -> None:
    """Execute the blocks that come in, all in one namespace; answer each with its traceback."""
    names: dict[str, Any] = {"__name__": "page"}
    for line in sys.stdin:
        failed = ""
        try:
            exec(compile(json.loads(line), "block", "exec"), names)  # noqa: S102 - a page's own
        except BaseException:  # noqa: BLE001 - told of, whatever it is
            failed = traceback.format_exc()
        print(json.dumps(failed), file=sys.stderr, flush=True)


PROGRAMS: dict[str, Callable[[], object]] = {
    "soulsense-db": main,
    "alembic": alembic.config.main,
    "page-of-python": page,
}


def serve(listener: socket.socket) -> None:
    """Fork for each client, and once more for its command, whose end the first child waits for."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those of the loop
    while True:
        client, _ = listener.accept()
        if os.fork():
            client.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        request, streams, _, _ = socket.recv_fds(client, 1 << 20, 3)
        if child := os.fork():
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            client.sendall(str(code).encode())
            os._exit(0)
        client.close()
        run(request, streams)


def run(request: bytes, streams: list[int]) -> None:
    """Run a command with the streams, folder and environment of its client, and end.

    What follows these three in the request, is where modules are looked for first.
    """
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # New ones: those of the server know what kind of file it has there.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = (
        open(n, "w", buffering=1, closefd=False)  # noqa: SIM115
        for n in (1, 2)
    )
    sys.argv, folder, environment, *places = json.loads(request)
    sys.path[:0] = places
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    code: Any
    try:
        code = PROGRAMS[Path(sys.argv[0]).name]()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        code = 1
    # Tearing down all that was imported takes longer than most commands.
    sys.stdout.flush()
    sys.stderr.flush()
    if "coverage" in sys.modules and (measuring := sys.modules["coverage"].Coverage.current()):
        measuring.save()
    os._exit((code or 0) & 255)


with contextlib.redirect_stdout(io.StringIO()):  # imports what the first call does
    Path("none.db").touch()
    app(["list", "--url", "none.db"], standalone_mode=False)
    Path("none.db").unlink()
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(64)
gc.freeze()
print("ready", flush=True)
serve(server)
