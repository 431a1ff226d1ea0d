"""Delete rows in a transaction that takes a while, and commit: hold_the_write_lock.py DATABASE."""

from __future__ import annotations

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("DELETE FROM child")
print("locked", flush=True)
connection.set_progress_handler(lambda: 0, 1)
for _ in connection.execute(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
    "SELECT i FROM n"
):
    pass
connection.execute("COMMIT")
connection.close()
