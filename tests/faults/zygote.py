"""A process that has imported and warmed up everything, and forks a child for each case.

A fresh interpreter takes half a second, a fork some milliseconds: that is what makes thousands of
cases affordable. Commands and answers are JSON, a line each, on standard input and output::

    {"call": "run", "engine": "plain", "arguments": {...}, "gated": true}   ->   {"pid": 123}
    "go"                                                 ->   {"status": 0, "answer": ...}

The child answers with ``send``, on a socket: none of the calls that faults are injected into.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from faults import engines, invariants, mirrored, operations, sabotage
from soulsense_db.errors import BackupError


def run(name: str, folder: str, sabotaged: str = "") -> dict[str, Any]:
    """Run an operation; return its error, if any, or the word that it ``said``."""
    sabotage.apply(sabotaged)
    try:
        said = operations.EVERY[name].run(Path(folder))
    except Exception as error:  # noqa: BLE001 - the harness judges it
        return {
            "error": type(error).__name__,
            "in_tree": isinstance(error, BackupError),
            "of_others": isinstance(error, operations.ERRORS_OF_OTHERS),
            "outcome": error.outcome if isinstance(error, BackupError) else "",
            "text": str(error),
            "traceback": traceback.format_exc(),
        }
    return {"error": "", "said": said if isinstance(said, str) else ""}


def prepare(name: str, mode: Any, folder: str, filler: int) -> None:
    """Make a folder ready for an operation."""
    operations.prepare(name, mode, Path(folder), filler)


def check(sabotaged: str = "", **arguments: Any) -> invariants.Facts:
    """Look at what a fault left."""
    sabotage.apply(sabotaged)
    return invariants.check(**arguments)


CALLS: dict[str, Callable[..., Any]] = {
    "prepare": prepare,
    "run": run,
    "facts": invariants.facts,
    "check": check,
}


def warm_up() -> None:
    """Run everything once: an import in the middle of a case would be a part of it."""
    assert "coverage" not in sys.modules, "its calls would be counted and made to fail as ours"
    for name in (*operations.OPERATIONS, *operations.DRILLS):
        _run_once(name)
    for engine in engines.OTHERS:
        engines.choose(engine)
        for name in ("restore", "upgrade"):
            with suppress(BackupError, *operations.ERRORS_OF_OTHERS):  # for the cases to find
                _run_once(name)
    engines.choose(engines.PLAIN)


def _run_once(name: str) -> None:
    with tempfile.TemporaryDirectory() as place, redirect_stderr(StringIO()):
        folder = Path(place) / "case"
        operations.prepare(name, "delete", folder)
        base = invariants.facts(str(folder), name)
        operations.look_up(folder)
        operations.EVERY[name].run(folder)
        after = invariants.facts(str(folder), name)
        invariants.check(str(folder), name, base, after, {"error": ""})


def serve() -> None:
    """Fork a child for each line of standard input."""
    for line in sys.stdin:
        request = json.loads(line)
        ours, childs = socket.socketpair()
        gate, opener = os.pipe()
        pid = os.fork()
        if pid == 0:
            ours.close()
            os.close(opener)
            _child(request, gate, childs)
        childs.close()
        os.close(gate)
        ours.recv(1)  # from here on it waits, and makes no call before the gate opens
        if request.get("gated"):
            _say({"pid": pid})
            sys.stdin.readline()
        os.write(opener, b"g")
        answer = b""
        while part := ours.recv(1 << 20):
            answer += part
        _, status = os.waitpid(pid, 0)
        os.close(opener)
        ours.close()
        _say(
            {
                "status": os.waitstatus_to_exitcode(status),
                "answer": json.loads(answer) if answer else None,
            }
        )


def _child(request: dict[str, Any], gate: int, results: socket.socket) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    engines.choose(request["engine"])
    if "folder" in request["arguments"]:
        folder = Path(request["arguments"]["folder"])
        operations.look_up(folder)
        if request["call"] == "run":
            engines.open_idle(folder / "app.db")
    results.send(b" ")
    os.read(gate, 1)
    try:
        answer = CALLS[request["call"]](**request["arguments"])
        results.sendall(json.dumps(answer).encode())
    except BaseException:  # noqa: BLE001 - it must reach the harness
        results.sendall(json.dumps({"crash": traceback.format_exc()}).encode())
    finally:
        os._exit(0)  # closes nothing: what is left open is as after a process that died


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - the protocol


if __name__ == "__main__":
    mirrored.speed_up()
    warm_up()
    _say({"ready": True})
    serve()
