"""What the documentation takes from SQLite's command line: sqlite3_shell.py DATABASE STATEMENT."""

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1])
for row in connection.execute(sys.argv[2]):
    print(*row, sep="|")
connection.commit()
