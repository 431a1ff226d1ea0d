"""The application that a test sits at: a Tk main loop that shows itself and does what it is told.

Requests and answers are JSON, a line each, on standard input and output::

    {"id": 1, "do": "look"}                      ->   {"id": 1, "answer": {"widgets": [...], ...}}
    {"id": 2, "do": "run", "code": "answer = 1"} ->   {"id": 2, "answer": 1}

They are served by a timer of the main loop, so also while a modal dialog waits in a loop of its
own. What goes wrong is told at once: ``{"error": "Traceback ..."}``.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
import tkinter as tk
import traceback
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from dialog.looking import Eyes

_PERIOD = 5  # ms
# After a round trip all events of before are here: those come first, then what is drawn when there
# is nothing else to do, then the command.
_SETTLE = "catch {winfo pointerxy .}; after 1 {after 1 {after idle {%s}}}"


class Ticker:
    """Measure how long the main loop was ever kept from ticking, in seconds.

    It is up to ``_PERIOD`` too much; what the harness itself takes for a look is left out.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was measured."""
        self.longest = 0.0
        self.last = time.monotonic()

    def tick(self) -> None:
        """Note that the main loop runs."""
        now = time.monotonic()
        self.longest = max(self.longest, now - self.last)
        self.last = now


class Wire:
    """The way to the test: answers and errors, from any thread."""

    def __init__(self) -> None:
        self.requests: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._out = os.dup(1)
        os.dup2(2, 1)  # what the application prints is an error, and no answer
        self._lock = threading.Lock()

    def say(self, **message: Any) -> None:
        """Send a line."""
        line = memoryview(json.dumps(message).encode() + b"\n")
        with self._lock:
            while line:
                line = line[os.write(self._out, line) :]

    def listen(self) -> None:
        """Queue requests until there are no more; None is the end."""
        rest = b""
        while part := os.read(0, 1 << 16):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                self.requests.put(json.loads(line))
        self.requests.put(None)

    def error(self, error: BaseException) -> None:
        """Tell of an exception."""
        self.say(error="".join(traceback.format_exception(error)))


class Server:
    """Serve requests in the main loop of ``root``."""

    def __init__(self, root: tk.Tk, wire: Wire, ticker: Ticker, namespace: dict[str, Any]) -> None:
        self._tk = root.tk
        self._wire, self._ticker, self._namespace = wire, ticker, namespace
        self._eyes = Eyes(root)
        self._started = False
        namespace |= {"root": root, "ticker": ticker, "eyes": self._eyes}
        root.report_callback_exception = self._callback_error
        # In Tcl alone: what tkinter registers ends with the root, and is an error from then on.
        self._tk.createcommand("gui_tick", self._tick)
        self._tk.createcommand("gui_settled", self._settled)
        self._tk.createcommand("gui_error", self._background_error)
        self._tk.eval("interp bgerror {} gui_error")
        # Once its window is on the screen: below what is opened next, and with its own focus.
        self._tk.eval("after 0 {after idle {" + _SETTLE % "gui_tick" + "}}")

    def _tick(self) -> None:
        if self._started:
            self._ticker.tick()
        else:
            self._started = True
            self._ticker.reset()
            self._wire.say(ready=True)
        # First of all: what is run may wait in a loop of its own, and must be served there.
        self._tk.call("after", _PERIOD, "gui_tick")
        try:
            request = self._wire.requests.get_nowait()
        except Empty:
            return
        if request is None:
            self._tk.eval("catch {destroy .}")
        elif request["do"] == "look":
            self._tk.eval(_SETTLE % f"gui_settled {request['id']}")
        else:
            self._run(request)

    def _settled(self, request: str) -> None:
        number = int(request)
        try:
            self._tk.eval("winfo exists .")
        except tk.TclError:
            self._wire.say(id=number, answer=None)  # its windows are gone, and it ends
            return
        try:
            self._wire.say(id=number, answer=self._eyes.look())
        except Exception:  # noqa: BLE001 - the test is told
            self._wire.say(id=number, crash=traceback.format_exc())
        self._ticker.last = time.monotonic()

    def _run(self, request: dict[str, Any]) -> None:
        self._namespace.pop("answer", None)
        try:
            exec(compile(request["code"], "<run>", "exec"), self._namespace)  # noqa: S102
            self._wire.say(id=request["id"], answer=self._namespace.pop("answer", None))
        except Exception:  # noqa: BLE001 - the test is told
            self._wire.say(id=request["id"], crash=traceback.format_exc())

    def _callback_error(self, _type: object, error: BaseException, _traceback: object) -> None:
        self._wire.error(error)

    def _background_error(self, message: str, *_options: str) -> None:
        self._wire.say(error=f"Tcl: {message}")


def watch_threads(wire: Wire) -> None:
    """Tell of every call of Tk in a thread other than the main one, be it by a destructor.

    It works by luck: only while the main loop runs, and nobody in it waits for the thread.
    """
    tkapp = type(tk.Tcl().tk)

    def profile(_frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and type(getattr(called, "__self__", None)) is tkapp:
            name = threading.current_thread().name
            stack = "".join(traceback.format_stack(_frame))
            wire.say(error=f"Tk was called in the thread {name}:\n{stack}")

    threading.setprofile(profile)


def main(setup: str, *options: str) -> None:
    """Run the file ``setup`` and the main loop."""
    wire = Wire()
    faulthandler.register(signal.SIGUSR1)
    threading.excepthook = lambda failed: wire.error(failed.exc_value or RuntimeError("unknown"))
    sys.unraisablehook = lambda failed: wire.error(failed.exc_value or RuntimeError("unknown"))
    threading.Thread(target=wire.listen, daemon=True, name="gui requests").start()
    if "watch-threads" in options:
        watch_threads(wire)
    namespace: dict[str, Any] = {"__name__": "setup", "__file__": setup}
    make, ticker = tk.Tk.__init__, Ticker()

    def make_and_serve(root: tk.Tk, *arguments: Any, **named: Any) -> None:
        make(root, *arguments, **named)
        tk.Tk.__init__ = make  # type: ignore[method-assign]
        Server(root, wire, ticker, namespace)

    tk.Tk.__init__ = make_and_serve  # type: ignore[method-assign,assignment]
    if "own-root" not in options:
        tk.Tk()
    try:
        exec(compile(Path(setup).read_text("utf-8"), setup, "exec"), namespace)  # noqa: S102
    except Exception as error:  # noqa: BLE001 - the test is told
        wire.error(error)
        sys.exit(1)
    if "own-root" not in options:
        namespace["root"].mainloop()


if __name__ == "__main__":
    main(*sys.argv[1:])
