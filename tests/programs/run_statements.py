"""Run statements on a database file and stay connected; then answer those that are asked for.

run_statements.py DATABASE [STATEMENT ...]
"""

from __future__ import annotations

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("ready", flush=True)
for line in sys.stdin:
    print(connection.execute(line).fetchone()[0], flush=True)
connection.close()
