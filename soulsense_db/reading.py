"""Read the bytes of a file that SQLite may have open in this very process: in another one.

POSIX drops all locks that a process has on a file when it closes any descriptor of it, also those
that SQLite holds through descriptors of its own (https://www.sqlite.org/howtocorrupt.html, 2.2).
The application may have opened a backup, or the file that it imports, to look at it. A process of
its own has no locks to lose.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from soulsense_db import files, reading_child
from soulsense_db.reading_child import START_BYTES, write_all
from soulsense_db.tampering import NO_LINK

Progress = Callable[[int, int], object]

_BLOCK = 1024 * 1024


class FileVersion(NamedTuple):
    """What a write to a file changes, as far as the system tells it without reading the file.

    The time of the last change of status (``ctime_ns``) cannot be set back by a program.
    """

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


def version_of(path: Path) -> FileVersion:
    """Return the version of the file ``path`` as it is now."""
    with files.storage_errors("read", path):
        status = path.stat()
    return FileVersion(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def start_of(path: Path) -> bytes:
    """Return the first 100 bytes of the file ``path``, fewer where it is shorter."""
    version = version_of(path)
    if version in _starts:
        return _starts[version]
    with _reading("start", path, subprocess.PIPE) as child:
        if child is None:
            return next(_blocks(path, None), b"")[:START_BYTES]
        assert child.stdout is not None
        found = child.stdout.read()
        _follow(child, path, None)
    return found


def sha256_of(path: Path, *, progress: Progress | None = None) -> str:
    """Return the SHA-256 of the file ``path`` as 64 hexadecimal digits."""
    version = version_of(path)
    with _reading("sha256", path, subprocess.PIPE) as child:
        if child is not None:
            checksum = _follow(child, path, progress)
            assert child.stdout is not None
            _remember(version, child.stdout.read())
            return checksum
    digest = hashlib.sha256()
    for block in _blocks(path, progress):
        digest.update(block)
    return digest.hexdigest()


def copy_contents(source: Path, target: Path, *, progress: Progress | None = None) -> None:
    """Copy the contents of ``source`` over the existing file ``target``, which is ours alone."""
    with files.storage_errors("copy to", target):
        descriptor = os.open(target, os.O_WRONLY | os.O_TRUNC | NO_LINK)
    try:
        with _reading("copy", source, descriptor) as child:
            if child is not None:
                _follow(child, target, progress, action="copy to")
                return
        for block in _blocks(source, progress):
            with files.storage_errors("copy to", target):
                write_all(descriptor, block)
    finally:
        os.close(descriptor)


# The beginnings of the files read last: who restores asks for that of what was just verified.
_starts: dict[FileVersion, bytes] = {}
_MOST_STARTS = 8


def _remember(version: FileVersion, start: bytes) -> None:
    with _lock:
        _starts[version] = start
        while len(_starts) > _MOST_STARTS:
            del _starts[next(iter(_starts))]


@contextmanager
def _reading(action: str, path: Path, output: int) -> Iterator[subprocess.Popen[bytes] | None]:
    """Start a process that reads ``path``; it is gone at the end of the block.

    None where none can be started.
    """
    with files.storage_errors("read", path):
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would let us wait for ever
            raise OSError("it is not a regular file")
    child = _start(action, path, output)
    if child is None:
        yield None
        return
    try:
        yield child
    finally:
        with suppress(OSError):
            child.kill()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()
        child.wait()


def _start(action: str, path: Path, output: int) -> subprocess.Popen[bytes] | None:
    name = Path(sys.executable or "").name.lower()
    is_python = name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)
    # Else it is a frozen program or a server that embeds Python. Windows drops no locks.
    if not is_python or os.name != "posix":
        return None
    try:
        return subprocess.Popen(
            # Isolated: neither the environment nor the current directory has a part in it.
            [sys.executable, "-I", "-S", reading_child.__file__, action, path, str(_BLOCK)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process; it ends the other one
        )
    except OSError:  # a user or a root directory without that interpreter, no process left
        return None


def _follow(
    child: subprocess.Popen[bytes], path: Path, progress: Progress | None, *, action: str = "read"
) -> str:
    """Tell ``progress`` what the process says; return the checksum, if it makes one."""
    assert child.stderr is not None
    checksum = ""
    for line in child.stderr:
        word, *rest = line.decode(errors="replace").split() or [""]
        if word == "done" and progress is not None:
            progress(int(rest[0]), int(rest[1]))
        elif word == "sha256":
            checksum = rest[0]
        elif word == "errno":
            number = int(rest[0])
            raise files.as_storage_error(OSError(number, os.strerror(number)), action, path)
    if child.wait() != 0:
        error = OSError(f"the process that reads it ended with {child.returncode}")
        raise files.as_storage_error(error, action, path)
    return checksum


# Without a process of its own: what SQLite itself does. A descriptor stays open for as long as
# another one in this process leads to the same file.


def _blocks(path: Path, progress: Progress | None) -> Iterator[bytes]:
    with files.storage_errors("read", path):
        _close_unused()
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        total = os.fstat(descriptor).st_size
        done = 0
        while True:
            with files.storage_errors("read", path):
                block = os.read(descriptor, _BLOCK)
            if not block:
                return
            yield block
            done += len(block)
            if progress is not None:
                progress(done, max(done, total))
    finally:
        close(descriptor)


def close(descriptor: int) -> None:
    """Close ``descriptor``, now or later: once no other one in this process leads to its file."""
    with _lock:
        _done_with.add(descriptor)
    _close_unused()


_lock = threading.Lock()
_done_with: set[int] = set()


def _close_unused() -> None:
    with _lock:
        for descriptor in list(_done_with):
            if not _is_in_use(os.fstat(descriptor)):
                _done_with.remove(descriptor)
                os.close(descriptor)


def _is_in_use(file: os.stat_result) -> bool:
    """Whether this process has ``file`` open through another descriptor than those here."""
    if os.name != "posix":
        return False
    for descriptor in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):  # the one that lists the directory is closed by now
            if descriptor not in _done_with and os.path.samestat(os.fstat(descriptor), file):
                return True
    return False
