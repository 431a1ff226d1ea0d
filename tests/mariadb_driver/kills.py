"""Restores in a process of their own that is killed at one of its statements."""

from __future__ import annotations

import subprocess
import sys

from mariadb_driver.databases import Database

_PROGRAM = """
import importlib, os, sys
import sqlalchemy as sa
from soulsense_db import BackupManager

url, directory, where, statement, when, what = sys.argv[1:]
module = importlib.import_module(f"soulsense_db.drivers.mariadb.{where}")
execute = module.execute

def killed(connection, executed):
    if statement not in executed:
        return execute(connection, executed)
    if when == "after":
        execute(connection, executed)
    os._exit(9)

module.execute = killed
manager = BackupManager(sa.create_engine(url), directory, catalog=False)
manager.undo_restore() if what == "undo" else manager.restore(what)
"""


def killed_at(
    database: Database, statement: str, what: str, *, where: str, when: str = "after"
) -> None:
    """Restore the backup ``what``, or undo, and die at a statement that the module ``where`` has.

    The backups are in the folder ``b`` beside the database's. ``when``: before or after it.
    """
    url, directory = database.server.url(database.name), str(database.folder / "b")
    arguments = [sys.executable, "-c", _PROGRAM, url, directory, where, statement, when, what]
    done = subprocess.run(arguments, check=False, capture_output=True)
    assert done.returncode == 9, done.stderr
