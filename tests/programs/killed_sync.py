"""Sync to a mirror and be killed in the middle of it, again and again.

Run with the database and the URL. For each line, a number of seconds, a child of this process
brings the mirror in step, and is killed after so long; the answer is its exit status.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

import sqlalchemy as sa

from soulsense_db import BackupManager
from soulsense_db.mirrors import mirror_for

database, url = sys.argv[1:]
mirror_for(url).close()  # imports what it takes: a child is to be killed in its work
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        threading.Timer(float(line), os.kill, (os.getpid(), signal.SIGKILL)).start()
        engine = sa.create_engine(f"sqlite:///{database}")
        (report,) = BackupManager(engine, mirrors=url).mirrors.sync()
        os._exit(0 if report.ok else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
