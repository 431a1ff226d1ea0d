"""The user of the system, as whom libpq connects where no other is named."""

from __future__ import annotations

import getpass
import os


def system_user() -> str:
    """Return his name; his number where he has none, as in a container that runs as some number."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # without the module pwd; up to Python 3.12; from 3.13
        return str(getattr(os, "getuid", int)())
