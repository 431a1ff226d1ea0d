"""Run the program, which somebody interrupts when the backup is made and its row is not.

interrupt_at_the_row.py DATABASE_URL [OPTION ...]
"""

from __future__ import annotations

import sys

from soulsense_db.backup_info import BackupInfo
from soulsense_db.catalog.sync import CatalogRows
from soulsense_db.cli import main


def interrupted(_self: CatalogRows, _info: BackupInfo) -> None:
    """Press Ctrl-C."""
    raise KeyboardInterrupt


CatalogRows.record = interrupted  # type: ignore[assignment,method-assign]
sys.argv = ["soulsense-db", "create", "x", "--url", sys.argv[1], *sys.argv[2:]]
sys.stderr = sys.stdout
main()
