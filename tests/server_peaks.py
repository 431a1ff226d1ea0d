"""How much memory calls of a manager take, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from helpers import PROGRAMS


def peak_of(url: str, directory: Path, *calls: str) -> int:
    """Return the MB that a process took at its peak which made all these calls."""
    command = [sys.executable, str(PROGRAMS / "server_peak.py"), url, str(directory), *calls]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
