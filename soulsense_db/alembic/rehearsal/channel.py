"""How the child tells the parent what happens: a JSON object per line."""

from __future__ import annotations

import json
import os
import threading
from typing import Any


class Channel:
    """Writes to the descriptor of a pipe, from this process alone: not from what it forks."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._process = os.getpid()
        self._lock = threading.Lock()

    def tell(self, kind: str, **facts: Any) -> None:
        """Tell of one event."""
        if os.getpid() != self._process:
            return
        data = (json.dumps({"kind": kind, **facts}, default=str) + "\n").encode()
        with self._lock:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
