"""SIGTERM and SIGHUP end a command as Ctrl-C does: nothing of it is left behind.

A service manager, a container or a closed terminal sends them, and a process that they end at once
leaves its private copies, such as the decrypted one of an encrypted backup.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

# SIGHUP is not on Windows.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_received: list[int] = []


def end_in_order() -> None:
    """Have the signals raise ``KeyboardInterrupt``, but for those that are ignored, as by nohup."""
    process = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        if os.getpid() != process:  # a child of a fork does what it would have done without us
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        _received.append(number)
        raise KeyboardInterrupt

    for number in _ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)


def code_of_interrupt() -> int:
    """Return the exit code, as a shell says it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (_received[0] if _received else signal.SIGINT)
