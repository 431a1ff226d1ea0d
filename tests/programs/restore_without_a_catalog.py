"""Run a restore after which the catalog cannot be rebuilt.

restore_without_a_catalog.py DATABASE_URL [OPTION ...]
"""

from __future__ import annotations

import sys

from soulsense_db.cli import main
from soulsense_db.operations import Repository


def failing(_self: Repository) -> bool:
    """Fail as a trigger of the application may."""
    raise RuntimeError("the catalog has gone")


Repository.sync_catalog = failing  # type: ignore[assignment,method-assign]
url, *options = sys.argv[1:]
sys.argv = ["soulsense-db", "restore", "latest", "--yes", "--url", url, *options]
main()
