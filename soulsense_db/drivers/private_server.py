"""A database server of our own, for as long as it is used: in a folder, on a socket.

Nothing else than our process knows its password, and no port is opened. A watcher
(:mod:`.private_watch`) ends it and removes its folder when it is not used any more, or when the
process is gone that started it. What even that leaves, after a kill of both, is found by the next
one: nobody holds the lock in its folder.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from soulsense_db import fs
from soulsense_db.drivers.server_errors import does_not_start
from soulsense_db.drivers.server_programs import said_by
from soulsense_db.notices import log_ignored

_LOCK = "in-use"
_TIMES = 3  # as large as a dump is its data, with indexes and logs
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LOOK_SECONDS = 0.02
_ABANDONED_SECONDS = 3600.0
_TRAVERSED = 0o711
_NOBODY = 65534
# What the system's structure of an address has room for: sun_path of Linux, and of all others.
_LONGEST_SOCKET = 107 if sys.platform == "linux" else 103


class PrivateServer(ABC):
    """A server that is started once, and gone after :meth:`stop`.

    Its folder is in ``place``; ``size_bytes``: of the dump that it is for, if that is known yet;
    ``program``: the server.
    """

    prefix: ClassVar[str]
    """How the names of such folders begin."""

    folders: ClassVar[tuple[str, ...]]
    """What is made in one, for the server."""

    empty_bytes: ClassVar[int]
    """What a server without data takes."""

    users: ClassVar[tuple[str, ...]]
    """As whom it runs, where we are root: the first of them that there is."""

    named_by: ClassVar[str]
    """What stands before a path in its folder, in the arguments of the server."""

    ended_by: ClassVar[signal.Signals] = signal.SIGKILL
    """The signal upon which it is gone at once, with all processes of its own."""

    def __init__(self, program: Path, *, place: Path, size_bytes: int = 0) -> None:
        self.tidy_up(place)
        self._place, self._program = place, program
        self.require_room(size_bytes)
        self._watcher: subprocess.Popen[bytes] | None = None
        self._owner = self._owner_in(place)
        with fs.storage_errors("make a directory in", place):
            self._folder = Path(tempfile.mkdtemp(prefix=self.prefix, dir=place))
            self._lock = _lock_new(self._folder / _LOCK)
            self._folder.chmod(_TRAVERSED if self._owner else fs.PRIVATE_DIRECTORY)
            for name in self.folders:
                self._give(self._folder / name, is_folder=True)

    # What a server says

    @property
    @abstractmethod
    def socket(self) -> Path:
        """Where it listens."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether it can be logged in to, and the next one could find it."""

    @abstractmethod
    def _reason(self, log: str) -> str:
        """Return why it does not start, by what it has written; empty where that is unknown."""

    def _unreached(self, place: Path) -> dict[str, int]:
        """Return who it runs as where only root gets to ``place``: root."""
        del place
        return {}

    # What follows of it

    def require_room(self, size_bytes: int) -> None:
        """Raise where it would not have room for the data of a dump of this size."""
        fs.require_space(self._place, self.empty_bytes + _TIMES * size_bytes)

    @property
    def pid_file(self) -> Path:
        """What no other server says of itself."""
        return self._folder / "run" / "pid"

    def _run(self, commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> None:
        """Run the commands, the last of which is the server, and wait until it is ready."""
        if len(os.fsencode(self.socket)) > _LONGEST_SOCKET:
            reason = f"the path of its socket is too long: {self.socket}"
            raise does_not_start(self._program, reason)
        log = self._folder / "log"
        self._watch(
            {
                "folder": str(self._folder),
                "log": str(log),
                "commands": commands,
                "environment": environment,
                "end": self.ended_by,
                "user": {**self._owner, "extra_groups": []} if self._owner else {},
            }
        )
        self._wait(log, len(commands))

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
            raise does_not_start(self._program, str(error)) from error

    def _wait(self, log: Path, commands: int) -> None:
        assert self._watcher is not None
        assert self._watcher.stdout is not None
        os.set_blocking(self._watcher.stdout.fileno(), False)
        deadline, said = time.monotonic() + _START_SECONDS, b""
        while not self._answers():
            said += self._watcher.stdout.read() or b""
            statuses = said.split()
            has_failed = len(statuses) == commands or set(statuses) - {b"0"}
            if has_failed or self._watcher.poll() is not None or time.monotonic() > deadline:
                raise does_not_start(self._program, self._why(log))
            time.sleep(_LOOK_SECONDS)  # a server tells nobody when it is ready

    def _answers(self) -> bool:
        """Whether it listens, and is ready."""
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(self.socket))
            return self._is_ready()
        return False

    def _why(self, log: Path) -> str:
        text = ""
        with suppress(OSError):
            text = log.read_text(encoding="utf-8", errors="replace")
        last = text.strip().splitlines()[-1:] or ["it said nothing"]
        return (self._reason(text) or last[0]).strip().rstrip(".")

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
            self._remove(self._folder)
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

    def _owner_in(self, place: Path) -> dict[str, int]:
        """Return who the server runs as, where we are root."""
        if os.geteuid() != 0:
            return {}
        resolved = place.resolve()
        if not all(one.stat().st_mode & 1 for one in (resolved, *resolved.parents)):
            return self._unreached(place)
        for name in self.users:
            with suppress(KeyError):
                found = pwd.getpwnam(name)
                return {"user": found.pw_uid, "group": found.pw_gid}
        return {"user": _NOBODY, "group": _NOBODY}

    # What others have left

    @classmethod
    def tidy_up(cls, place: Path) -> None:
        """End and remove what processes that were killed have left in ``place``, with watchers.

        It fails for none: what is in use, or somebody else's, stays.
        """
        for folder in place.glob(f"{cls.prefix}*"):
            try:
                status = folder.lstat()
                if status.st_uid != os.geteuid() or folder.is_symlink() or not folder.is_dir():
                    continue
                if not (folder / _LOCK).exists():
                    # One that is being made has none yet.
                    if time.time() - status.st_mtime > _ABANDONED_SECONDS:
                        cls._remove(folder)
                    continue
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
                try:
                    if _locked(lock):
                        cls._remove(folder)
                finally:
                    os.close(lock)
            except OSError as error:
                log_ignored(f"{folder} is left over", error)

    @classmethod
    def _remove(cls, folder: Path) -> None:
        """End the server of a folder, if it runs, and remove the folder."""
        with suppress(OSError, ValueError):
            number = int((folder / "run" / "pid").read_text(encoding="ascii"))
            for one in (cls.ended_by, signal.SIGKILL):
                if not cls._is_of(number, folder):
                    break
                os.kill(number, one)
                deadline = time.monotonic() + _STOP_SECONDS
                while cls._is_of(number, folder) and time.monotonic() < deadline:
                    time.sleep(_LOOK_SECONDS)  # it is no child of ours: nothing tells of its end
        shutil.rmtree(folder, ignore_errors=True)

    @classmethod
    def _is_of(cls, number: int, folder: Path) -> bool:
        """Whether a process is a server of this folder: others have got its number since."""
        try:
            said = Path(f"/proc/{number}/cmdline").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it is gone, or this system has no such files
            said = said_by(["/bin/ps", "-o", "args=", "-p", str(number)])
        return f"{cls.named_by}{folder}{os.sep}" in said


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
