"""Commit one row to a database file, and disconnect: add_row.py DATABASE."""

from __future__ import annotations

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1])
connection.execute("INSERT INTO child (parent_id, amount, body) VALUES (1, 0, 'other')")
connection.commit()
connection.close()
