"""The application as a process: started, asked, told what to do, and ended; its errors are kept."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS = 20
PAUSE = 0.02


class EndedError(AssertionError):
    """The application has ended, and answers no more."""


class Application:
    """Runs ``app.py`` with what ``setup`` makes.

    ``setup``: what runs before the main loop: a file, or source text, with ``root``. With
    ``own_root`` it makes its root itself, and runs its main loop, as a program does.
    """

    def __init__(
        self,
        setup: str | Path,
        folder: Path,
        env: dict[str, str],
        *,
        own_root: bool = False,
        watch_threads: bool = True,
    ) -> None:
        self.folder = folder
        self.errors: list[str] = []
        self._number, self._rest, self._closed = 0, b"", False
        if isinstance(setup, str):
            path = folder / "setup.py"
            path.write_text(setup, "utf-8")
            setup = path
        tests = str(Path(__file__).parents[1])
        paths = os.pathsep.join(filter(None, [tests, env.get("PYTHONPATH")]))
        options = ["own-root"] * own_root + ["watch-threads"] * watch_threads
        self._stderr = folder / "stderr.txt"
        with self._stderr.open("wb") as stderr:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-W", "error", "-m", "dialog.app", str(setup), *options],
                cwd=folder,
                env=env | {"PYTHONPATH": paths},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        try:
            self._read(lambda message: "ready" in message)
        except AssertionError as error:
            self._closed = True
            self._end()
            raise AssertionError(f"{error}\n{self._printed()}") from None

    def run(self, code: str) -> Any:
        """Run Python in the application, in its main loop; return ``answer`` if it is set."""
        return self.ask(do="run", code=code)

    def start(self, code: str) -> None:
        """Run Python that waits, as what opens a modal dialog, without waiting for its end."""
        self.run(f"root.after(0, lambda: exec({code!r}, globals()))")

    def longest_block(self) -> float:
        """Return for how many seconds the main loop was ever blocked since the last reset."""
        return float(self.run("answer = ticker.longest"))

    def reset_block(self) -> None:
        """Begin to measure anew how long the main loop is blocked."""
        self.run("ticker.reset()")

    def forgive(self) -> list[str]:
        """Return the errors so far, and let the test pass with them."""
        self.run("")  # what was told before is here then
        errors, self.errors = self.errors, []
        return errors

    def close(self) -> None:
        """End the application; fail when anything went wrong in it."""
        if self._closed:
            return
        self._closed = True
        assert self._child.stdin is not None
        try:
            with suppress(BrokenPipeError):
                self._child.stdin.close()
            with suppress(EndedError):
                self._read(lambda _message: False)
        finally:
            self._end()
        errors = [*self.errors, *filter(None, [self._printed()])]
        if self._child.returncode:
            errors.append(f"the application ended with {self._child.returncode}")
        assert not errors, "in the application:\n" + "\n".join(errors)

    def ask(self, **request: Any) -> Any:
        """Send a request; return its answer."""
        self._number += 1
        line = json.dumps({"id": self._number, **request}).encode() + b"\n"
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(line)
            self._child.stdin.flush()
        except BrokenPipeError:
            raise EndedError("the application has ended") from None
        answer = self._read(lambda message: message.get("id") == self._number)
        assert "crash" not in answer, answer["crash"]
        return answer["answer"]

    def _read(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the next message that is wanted; keep the errors before it."""
        assert self._child.stdout is not None
        deadline = time.monotonic() + SECONDS
        while True:
            while b"\n" in self._rest:
                line, self._rest = self._rest.split(b"\n", 1)
                message: dict[str, Any] = json.loads(line)
                if "error" in message:
                    self.errors.append(message["error"])
                elif wanted(message):
                    return message
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._child.stdout], [], [], left)[0]:
                self._hangs()
            part = os.read(self._child.stdout.fileno(), 1 << 20)
            if not part:
                raise EndedError("\n".join(["the application has ended", *self.errors]))
            self._rest += part

    def _hangs(self) -> None:
        """Fail, telling where the application hangs."""
        before = self._stderr.stat().st_size
        self._child.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 1
        while self._stderr.stat().st_size == before and time.monotonic() < deadline:
            time.sleep(PAUSE)
        raise AssertionError(f"the application did not answer for {SECONDS} s:\n{self._printed()}")

    def _printed(self) -> str:
        """Return what the application printed: it should have printed nothing."""
        return self._stderr.read_text("utf-8", "replace").strip()

    def _end(self) -> None:
        """End the process, whatever it does."""
        try:
            self._child.wait(SECONDS if sys.exc_info()[0] is None else 0.1)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
