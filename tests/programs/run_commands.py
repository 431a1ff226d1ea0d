"""Run the commands of a JSON file one after the other, and note each process that is started.

Each is its arguments, the URL in the environment or null, and the files of its folder by name.
They run in the folder. Prints the exit code and the output of each, and the names of the audit
events of processes.

    run_commands.py FOLDER FILE
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import soulsense_db.cli

STARTING = {
    "subprocess.Popen",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
    "os.spawn",
    "pty.spawn",
}
started: list[str] = []
told: list[tuple[object, str]] = []


def note(event: str, _arguments: tuple[object, ...]) -> None:
    """Note what starts a process."""
    if event in STARTING:
        started.append(event)


sys.addaudithook(note)
os.chdir(sys.argv[1])
for arguments, url, files in json.loads(Path(sys.argv[2]).read_text()):
    os.environ.pop("SOULSENSE_DATABASE_URL", None)
    if url is not None:
        os.environ["SOULSENSE_DATABASE_URL"] = url
    for name in ("alembic.ini", "pyproject.toml"):
        Path(name).unlink(missing_ok=True)
    for name, text in files.items():
        Path(name).write_text(text)
    sys.argv = ["soulsense-db", *arguments]
    code: object = None
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            soulsense_db.cli.main()
        except SystemExit as ended:
            code = ended.code
    told.append((code, out.getvalue() + err.getvalue()))
print(json.dumps([told, started]))
