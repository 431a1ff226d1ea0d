"""Upgrade, and handle its error as a program may.

upgrade_and_handle.py exit|fatal|replace|raise|again
"""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

MENDED = "revision = 'broken'\ndown_revision = 'second'\ndef upgrade(): pass\n"


def handle(how: str) -> None:
    """End the program in a way of its own, or try again with the broken step mended."""
    if how == "exit":
        print("Your database may be dirty!", file=sys.stderr)
        sys.exit(3)
    if how == "fatal":
        sys.exit("Fatal: the database is in an unknown state")
    if how == "replace":
        raise RuntimeError("database may be corrupt") from None
    Path("mig/versions/broken.py").write_text(MENDED)
    command.upgrade(Config("alembic.ini"), "head")
    print("all well", file=sys.stderr)


try:
    command.upgrade(Config("alembic.ini"), "head")
except BaseException:
    if sys.argv[1] == "raise":
        raise
    handle(sys.argv[1])
