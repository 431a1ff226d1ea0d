"""Read from a database file until somebody ends it: read_all_the_time.py DATABASE."""

from __future__ import annotations

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
print("reading", flush=True)
while True:
    connection.execute("SELECT count(*) FROM child").fetchone()
