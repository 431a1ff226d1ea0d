"""Commit rows to a database file until somebody ends it: write_all_the_time.py DATABASE."""

from __future__ import annotations

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("PRAGMA synchronous = OFF")
done = 0
while True:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO child (parent_id, amount, body) VALUES (3, 11, 'more')")
    connection.execute("UPDATE parent SET total = total + 11 WHERE id = 3")
    connection.execute("COMMIT")
    done += 1
    if done == 20:
        print("writing", flush=True)
