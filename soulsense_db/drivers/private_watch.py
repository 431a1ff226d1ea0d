"""The program that keeps a private server: it ends once nobody wants that any more, whoever died.

It is run as a file, by itself, and knows nothing of the package. Standard input is one line, a
request; from then on its other end is held by whoever wants the server. When that is closed, the
server is ended, by the signal upon which it goes at once, and its folder removed. Where this
program is killed, Linux sends the server that signal.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

_LOOK_SECONDS = 0.05
_END_SECONDS = 10.0
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def main(descriptor: int = 0) -> None:
    """Run the commands of the request, one after the other, as long as they are wanted."""
    with open(descriptor, "rb", buffering=0, closefd=False) as stream:
        line = stream.readline()
    if not line:
        return
    request = json.loads(line)
    parent = os.getppid()
    try:
        for command in request["commands"]:
            status = _run(command, request, descriptor, parent)
            if status is None:
                return
            sys.stdout.write(f"{status}\n")
            sys.stdout.flush()
            if status != 0:
                break
        while not _is_over(descriptor, parent):  # its log is read first
            pass
    finally:
        shutil.rmtree(request["folder"], ignore_errors=True)


def _run(command: list[str], request: dict[str, Any], descriptor: int, parent: int) -> int | None:
    """Return the exit code of a command; None where it was ended, as nobody wants it any more."""
    # What a server says may have statements in it.
    said = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(said, "ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=request["environment"],
            start_new_session=True,
            preexec_fn=functools.partial(_die_with_parent, request["end"]),  # noqa: PLW1509 - there is one thread
            **request["user"],
        )
    try:
        while (status := process.poll()) is None:
            if _is_over(descriptor, parent):
                return None
        return status
    finally:
        if process.poll() is None:
            process.send_signal(request["end"])
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_over(descriptor: int, parent: int) -> bool:
    """Wait for a moment; whether the other end was closed, or its process is gone."""
    return bool(select.select([descriptor], [], [], _LOOK_SECONDS)[0]) or os.getppid() != parent


def _die_with_parent(by: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, by)


if __name__ == "__main__":
    main()
