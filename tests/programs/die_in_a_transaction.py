"""Die while changed pages are in the database file already: die_in_a_transaction.py DATABASE."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 5")
connection.execute("BEGIN")
connection.execute("UPDATE child SET body = 'half'")
os.kill(os.getpid(), signal.SIGKILL)
