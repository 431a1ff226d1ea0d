"""Commit in WAL mode, and die before the log is in the file: die_with_a_log.py DATABASE."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("UPDATE parent SET name = 'of the old one'")
os.kill(os.getpid(), signal.SIGKILL)
