"""Print whether a database file can be written to just now: try_to_write.py DATABASE."""

from __future__ import annotations

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN EXCLUSIVE")
    print("yes")
except sqlite3.OperationalError:
    print("no")
