"""Upgrade in a thread, and wait for its end, or leave when it is in a step that has said so.

upgrade_in_a_thread.py join|leave
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from alembic import command
from alembic.config import Config


def work() -> None:
    """Upgrade."""
    command.upgrade(Config("alembic.ini"), "head")


leave = sys.argv[1] == "leave"
thread = threading.Thread(target=work, daemon=leave)
thread.start()
if leave:
    while not Path("runs").exists():
        time.sleep(0.02)
else:
    thread.join()
