"""A MariaDB server of our own, for as long as it is used: in a folder, on a socket, with one login.

Nothing else than our process knows its password, and no port is opened. A watcher
(:mod:`.private_watch`) ends it and removes its folder when it is not used any more, or when the
process is gone that started it. What even that leaves, after a kill of both, is found by the next
one: nobody holds the lock in its folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from soulsense_db import fs
from soulsense_db.drivers.mariadb.login import environment
from soulsense_db.drivers.mariadb.private_errors import does_not_start
from soulsense_db.drivers.mariadb.server_tools import ServerTools
from soulsense_db.drivers.mariadb.statements import quoted
from soulsense_db.drivers.server_programs import said_by
from soulsense_db.notices import log_ignored

_PREFIX = "soulsense_db-mariadb-"
_LOCK = "in-use"
_EMPTY_BYTES = 120 * 1024 * 1024  # a server without data
_TIMES = 3  # as large as a dump is its data, with indexes and logs
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LOOK_SECONDS = 0.02
_ABANDONED_SECONDS = 3600.0
_TRAVERSED = 0o711
# What makes it quick, and changes nothing of what statements do: its data need not outlive it.
_QUICK = {
    "skip-networking": "1",
    "skip-name-resolve": "1",
    "skip-log-bin": "1",
    "skip-slave-start": "1",
    "skip-ssl": "1",
    "loose-feedback": "OFF",
    "performance-schema": "OFF",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-doublewrite": "0",
    "innodb-buffer-pool-size": "128M",
    "innodb-buffer-pool-dump-at-shutdown": "OFF",
    "event-scheduler": "OFF",
    "max-connections": "200",
}
_LOG_BYTES = "64M"
_ERROR = re.compile(r"(?:\[ERROR\]|F(?:atal error|ATAL ERROR):?)\s*(.*)")


@dataclass(frozen=True, slots=True)
class Account:
    """Who logs in to it."""

    user: str
    password: str

    @classmethod
    def new(cls, user: str) -> Self:
        """Return one whose password nobody can guess."""
        return cls(user, secrets.token_hex(20))

    @property
    def identified(self) -> str:
        """What a statement says of its password, which is not in it."""
        first = hashlib.sha1(self.password.encode(), usedforsecurity=False).digest()
        digest = hashlib.sha1(first, usedforsecurity=False).hexdigest().upper()
        return f"IDENTIFIED BY PASSWORD '*{digest}'"


class PrivateServer:
    """A server that is started by :meth:`start`, and gone after :meth:`stop`.

    Its folder is in ``place``; ``size_bytes``: of the dump that it is for.
    """

    def __init__(self, tools: ServerTools, *, place: Path, size_bytes: int) -> None:
        tidy_up(place)
        fs.require_space(place, _EMPTY_BYTES + _TIMES * size_bytes)
        self._tools = tools
        self.admin = Account.new(f"~soulsense_{secrets.token_hex(4)}")
        self._watcher: subprocess.Popen[bytes] | None = None
        with fs.storage_errors("make a directory in", place):
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
            self._lock = _lock_new(self._folder / _LOCK)
            self._owner = _owner(place)
            self._folder.chmod(_TRAVERSED if self._owner else fs.PRIVATE_DIRECTORY)
            for name in ("data", "tmp", "run", "plugins"):
                self._give((self._folder / name), is_folder=True)

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._folder / "run" / "socket"

    @property
    def pid_file(self) -> Path:
        """What no other server says of itself."""
        return self._folder / "run" / "pid"

    def start(self, settings: Mapping[str, str], variables: Mapping[str, str]) -> None:
        """Make its data, and start it.

        ``settings``: of its option file; ``variables``: of its environment.
        """
        log, begin = self._folder / "log", self._folder / "begin.sql"
        own = {
            "basedir": self._tools.base,
            "datadir": self._folder / "data",
            "tmpdir": self._folder / "tmp",
            "socket": self.socket,
            "pid-file": self.pid_file,
            "plugin-dir": self._folder / "plugins",
            "secure-file-priv": self._folder / "tmp",
            "init-file": begin,
            "innodb-log-file-size": _LOG_BYTES,
        }
        # Else it refuses to run as root.
        as_root = {"user": "root"} if os.geteuid() == 0 and not self._owner else {}
        lines = [
            f"{name}={_option(str(value))}"
            for name, value in {**settings, **_QUICK, **own, **as_root}.items()
        ]
        options = self._folder / "server.cnf"
        self._give(options, text="\n".join(["[mariadbd]", *lines, ""]))
        self._give(begin, text=self._first_statements())
        # Of the settings, those that its data is made with.
        made_with = [
            f"--{name}={settings[name]}"
            for name in ("innodb-page-size", "lower-case-table-names")
            if name in settings
        ]
        install = [
            *self._tools.making(self._folder / "data"),
            f"--tmpdir={self._folder / 'tmp'}",
            f"--innodb-log-file-size={_LOG_BYTES}",
            *made_with,
            *(f"--user={user}" for user in as_root.values()),
        ]
        self._watch(
            {
                "folder": str(self._folder),
                "log": str(log),
                "commands": [install, [str(self._tools.server), f"--defaults-file={options}"]],
                "environment": environment() | dict(variables),
                "user": {**self._owner, "extra_groups": []} if self._owner else {},
            }
        )
        self._wait(log)

    def _first_statements(self) -> str:
        who = f"{quoted(self.admin.user)}@`localhost`"
        return "\n".join(
            (
                "DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys';",
                "FLUSH PRIVILEGES;",
                f"CREATE USER {who} {self.admin.identified};",
                f"GRANT ALL PRIVILEGES ON *.* TO {who} WITH GRANT OPTION;",
                "",
            )
        )

    def _watch(self, request: Mapping[str, Any]) -> None:
        program = Path(__file__).with_name("private_watch.py")
        try:
            self._watcher = subprocess.Popen(
                [sys.executable, "-I", str(program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(self._lock,),
                start_new_session=True,  # a key that ends us leaves it, until we have tidied up
            )
            assert self._watcher.stdin is not None
            self._watcher.stdin.write(json.dumps(request).encode() + b"\n")
            self._watcher.stdin.flush()
        except OSError as error:
            raise does_not_start(self._tools.server, str(error)) from error

    def _wait(self, log: Path) -> None:
        assert self._watcher is not None
        assert self._watcher.stdout is not None
        os.set_blocking(self._watcher.stdout.fileno(), False)
        deadline, said = time.monotonic() + _START_SECONDS, b""
        while not self._answers():
            said += self._watcher.stdout.read() or b""
            statuses = said.split()
            has_ended = statuses[1:] or set(statuses) - {b"0"} or self._watcher.poll() is not None
            if has_ended or time.monotonic() > deadline:
                raise does_not_start(self._tools.server, _reason(log))
            time.sleep(_LOOK_SECONDS)  # a server tells nobody when it is ready

    def _answers(self) -> bool:
        """Whether it listens, and the next one could find it."""
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(self.socket))
            return self.pid_file.stat().st_size > 0
        return False

    def stop(self) -> None:
        """End it, and remove its folder."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            assert watcher.stdin is not None
            assert watcher.stdout is not None
            with suppress(BrokenPipeError):
                watcher.stdin.close()
            try:
                watcher.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                watcher.kill()
                watcher.wait()
            watcher.stdout.close()
        if self._lock >= 0:
            _remove(self._folder)
            os.close(self._lock)
            self._lock = -1

    def _give(self, path: Path, *, is_folder: bool = False, text: str = "") -> None:
        """Make a private file, or folder, of the server's user."""
        if is_folder:
            path.mkdir(mode=fs.PRIVATE_DIRECTORY)
        else:
            path.touch(mode=fs.PRIVATE_FILE)
            path.write_text(text, encoding="utf-8")
        if self._owner:
            os.chown(path, self._owner["user"], self._owner["group"])


def tidy_up(place: Path) -> None:
    """End and remove what processes that were killed have left in ``place``, with their watchers.

    It fails for none: what is in use, or somebody else's, stays.
    """
    for folder in place.glob(f"{_PREFIX}*"):
        try:
            status = folder.lstat()
            if status.st_uid != os.geteuid() or folder.is_symlink() or not folder.is_dir():
                continue
            if not (folder / _LOCK).exists():
                # One that is being made has none yet.
                if time.time() - status.st_mtime > _ABANDONED_SECONDS:
                    _remove(folder)
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if _locked(lock):
                    _remove(folder)
            finally:
                os.close(lock)
        except OSError as error:
            log_ignored(f"{folder} is left over", error)


def _lock_new(path: Path) -> int:
    """Return the descriptor of a new lock file that is held once it has its name."""
    before = path.with_name(f"{path.name}.new")
    descriptor = os.open(before, os.O_RDWR | os.O_CREAT | os.O_EXCL, fs.PRIVATE_FILE)
    _locked(descriptor)
    before.rename(path)
    return descriptor


def _locked(descriptor: int) -> bool:
    """Lock a file if nobody has it; whoever inherits the descriptor holds it as well."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(folder: Path) -> None:
    """Kill the server of a folder, if it runs, and remove the folder."""
    with suppress(OSError, ValueError):
        number = int((folder / "run" / "pid").read_text(encoding="ascii"))
        if _is_of(number, folder):
            os.kill(number, signal.SIGKILL)
            deadline = time.monotonic() + _STOP_SECONDS
            while _is_of(number, folder) and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)  # it is no child of ours: nothing tells of its end
    shutil.rmtree(folder, ignore_errors=True)


def _is_of(number: int, folder: Path) -> bool:
    """Whether a process is a server of this folder: others have got its number since."""
    try:
        said = Path(f"/proc/{number}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it is gone, or this system has no such files
        said = said_by(["/bin/ps", "-o", "args=", "-p", str(number)])
    return f"--defaults-file={folder}{os.sep}" in said


def _owner(place: Path) -> dict[str, int]:
    """Return who the server runs as, where we are root; nobody else where only root gets there."""
    resolved = place.resolve()
    reached = all(one.stat().st_mode & 1 for one in (resolved, *resolved.parents))
    if os.geteuid() != 0 or not reached:
        return {}
    for name in ("mysql", "nobody"):
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid}
    return {"user": 65534, "group": 65534}


def _option(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _reason(log: Path) -> str:
    """Return the first error in a log: others come of it."""
    with suppress(OSError):
        text = log.read_text(encoding="utf-8", errors="replace")
        found = _ERROR.findall(text) or text.strip().splitlines()[-1:]
        if found:
            return str(found[0]).strip().rstrip(".")
    return "it said nothing"
