"""Do one task in a backup directory, and refuse and note every access to what is not ours.

    audited.py ROOT TASK [ARGUMENT ...]

Ours are the live database and what stands beside it, the backup directory, where it exports to,
and Python itself. Prints what the task found as JSON, with ``strays``: what else was touched.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import threading
import urllib.parse
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import aiosqlite  # noqa: F401 - imported before anything is noted
import sqlalchemy.dialects.sqlite  # noqa: F401

import soulsense_db.cli
from soulsense_db import BackupError, BackupManager
from soulsense_db.health import check_health

FOLLOWING = {
    "sqlite3.connect",
    "os.listdir",
    "os.scandir",
    "os.chmod",
    "os.truncate",
    "os.utime",
    "shutil.rmtree",
    "shutil.copyfile",
}
WATCHED = {
    "open": [0],
    "sqlite3.connect": [0],
    "os.listdir": [0],
    "os.scandir": [0],
    "os.remove": [0],
    "os.rename": [0, 1],
    "os.link": [0, 1],
    "os.symlink": [1],
    "os.mkdir": [0],
    "os.rmdir": [0],
    "os.chmod": [0],
    "os.chown": [0],
    "os.truncate": [0],
    "os.utime": [0],
    "shutil.rmtree": [0],
    "shutil.move": [0, 1],
    "shutil.copyfile": [0, 1],
    "os.mkfifo": [0],
    "os.mknod": [0],
}

root, wanted, *arguments = sys.argv[1:]
os.chdir(os.path.join(root, "backups"))  # noqa: PTH118 - the text is what is given
manager = BackupManager.from_url(f"{root}/app.db", lock_timeout=1)
answer: dict[str, Any] = {"strays": []}
ours = tuple(
    f"{root}/{name}" for name in ("backups/", "backups", "exports/", "exports", "app.db", ".app.db")
)
python = tuple(
    os.path.realpath(str(path))
    for path in (
        *sysconfig.get_paths().values(),
        sys.prefix,
        sys.base_prefix,
        Path(soulsense_db.__file__).parents[1],
    )
)
ours_too = ("/etc/localtime", "/usr/share/zoneinfo", "/dev/null", "/usr/lib/python")
now: list[str | None] = [None]
thread_state = threading.local()


def where(given: str | bytes | os.PathLike[str], follow: bool) -> str:
    """Return where a path leads, the last part of it only if ``follow``."""
    path = os.fsdecode(given)
    if path.startswith("file:"):
        path = urllib.parse.unquote(urllib.parse.urlsplit(path).path)
    path = os.path.abspath(path)
    if follow:
        return os.path.realpath(path)
    head, tail = os.path.split(path)
    return os.path.join(os.path.realpath(head), tail)  # noqa: PTH118 - may be an odd name


def note(event: str, found: tuple[Any, ...]) -> None:
    """Refuse what is not ours, while a task is at work."""
    if event not in WATCHED or now[0] is None or getattr(thread_state, "busy", False):
        return
    thread_state.busy = True
    try:
        for position in WATCHED[event]:
            path = found[position]
            if path is None or isinstance(path, int) or path == ":memory:":
                continue
            follow = event in FOLLOWING
            if event == "open":
                flags = found[2] or 0
                # With both a link is not followed.
                follow = not (flags & os.O_NOFOLLOW or flags & os.O_EXCL)
            try:
                real = where(path, follow)
            except ValueError:  # a NUL: the system never sees it
                continue
            allowed = real.startswith(ours) or real.startswith(python)
            # The directory of the database: made sure of for locks, flushed, and searched for the
            # copies of processes that were killed.
            allowed = allowed or (event in {"os.mkdir", "open", "os.listdir"} and real == root)
            if not allowed and not (event == "open" and real.startswith(ours_too)):
                answer["strays"].append([now[0], event, real])
                raise PermissionError(13, "refused by the test", real)
    finally:
        thread_state.busy = False


def names() -> list[str]:
    """Return the names in the file that is the first argument."""
    given: list[str] = json.loads(Path(arguments[0]).read_text())
    return given


def run_program(*command: str) -> tuple[object, str, str]:
    """Run the command line; return its exit code and what it printed, on stdout and stderr."""
    sys.argv = ["soulsense-db", *command]
    code: object = None
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            soulsense_db.cli.main()
        except SystemExit as ended:
            code = ended.code
    return code, out.getvalue(), err.getvalue()


def call_with_names() -> None:
    """Call methods of the manager with each name: NAMES METHOD ..."""
    answer["outcomes"] = {}
    for name in names():
        for call in arguments[1:]:
            more = [f"{root}/exports"] if call == "export" else []
            for ref in (name, Path(name)) if call == "get" else (name,):
                now[0] = f"{call} {name!r}"
                try:
                    outcome = f"done: {getattr(manager, call)(ref, *more)}"
                except BackupError as error:
                    outcome = type(error).__name__
                except Exception as error:  # noqa: BLE001 - told of, whatever it is
                    outcome = f"not of the tree: {type(error).__name__} {error}"
                now[0] = None
                answer["outcomes"].setdefault(outcome, []).append(f"{call} {name[:200]!r}")


def run_with_names() -> None:
    """Run commands of the program with each name: NAMES COMMAND ..."""
    answer["outcomes"] = {}
    for name in names():
        for command in arguments[1:]:
            more = [f"{root}/exports"] if command == "export" else []
            now[0] = f"{command} {name!r}"
            code, out, err = run_program(
                command, "--yes", "--url", f"{root}/app.db", "--", name, *more
            )
            now[0] = None
            answer["outcomes"].setdefault(code, []).append([f"{command} {name[:200]!r}", out, err])


def list_all() -> None:
    """List, and do what reads all that is in the directory."""
    now[0] = "list"
    answer["names"] = [info.filename for info in manager.list()]
    manager.others()
    manager.orphans()
    manager.rebuild_catalog()
    answer["state"] = check_health(manager).state.name
    manager.prune(dry_run=True)


def create_with_names() -> None:
    """Make a backup with each name as its description, and delete it: NAMES."""
    answer["paths"], answer["kept"] = [], []
    for name in names():
        now[0] = f"create {name!r}"
        try:
            info = manager.create(name)
        except BackupError as error:
            assert type(error).__name__ == "InvalidDescriptionError", error
            continue
        answer["paths"].append(info.path)
        answer["kept"].append(manager.get(info.filename).description == name)
        manager.delete(info)
        now[0] = None


def obey_the_marker() -> None:
    """Do all that reads the marker of a migration."""
    now[0] = "with a marker"
    answer["status"] = [check.message for check in check_health(manager).checks]
    manager.delete("latest")
    manager.prune()
    answer["code"], _, answer["told"] = run_program("auto", "--url", f"{root}/app.db")
    manager.alarm.accept()


TASKS: dict[str, Callable[[], None]] = {
    work.__name__: work
    for work in (call_with_names, run_with_names, list_all, create_with_names, obey_the_marker)
}
manager.list()
sys.addaudithook(note)
TASKS[wanted]()
now[0] = None
print(json.dumps(answer))
