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
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from soulsense_db.fs import reading_child
from soulsense_db.fs.errors import as_storage_error, storage_errors
from soulsense_db.fs.path_safety import BINARY, NO_LINK
from soulsense_db.fs.reading_child import START_BYTES, write_all
from soulsense_db.notices import ignoring
from soulsense_db.progress import Progress

_BLOCK = 1024 * 1024


class FileVersion(NamedTuple):
    """What a write to a file changes, as far as the system tells it without reading the file.

    The time of the last change of status (``ctime_ns``) cannot be set back by a program. On Windows
    it is that of the making: there a write that sets back ``mtime_ns`` goes unnoticed.
    """

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


def version_of(path: Path) -> FileVersion:
    """Return the version of the file ``path`` as it is now."""
    with storage_errors("read", path):
        status = path.stat()
    return FileVersion(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def start_of(path: Path) -> bytes:
    """Return the first 100 bytes of the file ``path``, fewer where it is shorter."""
    version = version_of(path)
    if (known := _starts.get(version)) is not None:  # another thread may remove it meanwhile
        return known
    with _ignoring_no_child(), _reading("start", path, subprocess.PIPE) as child:
        assert child.stdout is not None
        found = child.stdout.read()
        _follow(child, path, None)
        return found
    return next(_blocks(path, None), b"")[:START_BYTES]


@contextmanager
def reading_starts(path: Path) -> Iterator[Callable[[], bytes]]:
    """Yield what returns the first 100 bytes of the file ``path`` as they are when it is called."""
    with ExitStack() as stack:
        try:
            child = stack.enter_context(_reading("starts", path, subprocess.PIPE, asks=True))
            _ask(child, path)
            read = partial(_ask_again, child, path)
        except _NoChildError:
            with storage_errors("read", path):
                _close_unused()
                descriptor = os.open(path, os.O_RDONLY | BINARY)
            stack.callback(close_when_unused, descriptor)
            read = partial(_start_of_open, descriptor, path)
        yield read


def _ask(child: subprocess.Popen[bytes], path: Path) -> bytes:
    assert child.stdin is not None
    assert child.stdout is not None
    with ignoring(OSError, what="A process that reads has ended"):
        child.stdin.write(b".")
        child.stdin.flush()
    found = child.stdout.read(START_BYTES)
    if len(found) < START_BYTES:
        _follow(child, path, None)  # it says why, or raises that there is none
    return found


def _ask_again(child: subprocess.Popen[bytes], path: Path) -> bytes:
    try:
        return _ask(child, path)
    except _NoChildError:  # there was one
        error = OSError("the process that reads it has ended")
        raise as_storage_error(error, "read", path) from None


def _start_of_open(descriptor: int, path: Path) -> bytes:
    with storage_errors("read", path):
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, START_BYTES)


def sha256_of(path: Path, *, progress: Progress | None = None) -> str:
    """Return the SHA-256 of the file ``path`` as 64 hexadecimal digits."""
    version = version_of(path)
    with _ignoring_no_child(), _reading("sha256", path, subprocess.PIPE) as child:
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
    with storage_errors("copy to", target):
        descriptor = os.open(target, os.O_WRONLY | os.O_TRUNC | NO_LINK | BINARY)
    try:
        with _ignoring_no_child(), _reading("copy", source, descriptor) as child:
            _follow(child, source, progress, target=target)
            return
        with storage_errors("copy to", target):  # a process that died may have begun
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.ftruncate(descriptor, 0)
        for block in _blocks(source, progress):
            with storage_errors("copy to", target):
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


class _NoChildError(Exception):
    """There is no other process that could read the file."""


def _ignoring_no_child() -> AbstractContextManager[None]:
    return ignoring(_NoChildError, what="A file is read in this process, no other can be started")


@contextmanager
def _reading(
    action: str, path: Path, output: int, *, asks: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that reads ``path``; it is gone at the end of the block.

    ``asks``: the block says on its standard input when.
    Raises :class:`_NoChildError` where none can be started.
    """
    with storage_errors("read", path):
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would let us wait for ever
            raise OSError("it is not a regular file")
    child = _start(action, path, output, subprocess.PIPE if asks else subprocess.DEVNULL)
    try:
        yield child
    finally:
        with suppress(OSError):  # it has ended, as it should
            child.kill()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with suppress(OSError):  # it reads no more
                    stream.close()
        child.wait()


def _start(action: str, path: Path, output: int, orders: int) -> subprocess.Popen[bytes]:
    name = Path(sys.executable or "").name.lower()
    is_python = name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)
    # Else it is a frozen program or a server that embeds Python. Windows drops no locks.
    if not is_python or os.name != "posix":
        raise _NoChildError
    if not Path(reading_child.__file__).is_file():  # the package is in a ZIP file
        raise _NoChildError
    try:
        return subprocess.Popen(
            # Isolated: neither the environment nor the current directory has a part in it.
            [sys.executable, "-I", "-S", reading_child.__file__, action, path, str(_BLOCK)],
            stdin=orders,
            stdout=output,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process; it ends the other one
        )
    except OSError as error:  # a user or a root directory without it, no process left
        raise _NoChildError from error


def _follow(
    child: subprocess.Popen[bytes],
    source: Path,
    progress: Progress | None,
    *,
    target: Path | None = None,
) -> str:
    """Tell ``progress`` what the process says; return the checksum, if it makes one.

    Raises :class:`_NoChildError` when it says nothing: an interpreter that cannot run, as one that
    finds its library by PYTHONHOME alone, tells nothing of the disk.
    """
    assert child.stderr is not None
    checksum = last = ""
    for line in child.stderr:
        word, *rest = line.decode(errors="replace").split() or [""]
        if word not in {"done", "sha256", "errno", "ended"}:
            continue
        last = word
        if word == "done" and progress is not None:
            progress(int(rest[0]), int(rest[1]))
        elif word == "sha256":
            checksum = rest[0]
        elif word == "errno":
            error = OSError(int(rest[1]), os.strerror(int(rest[1])))
            if rest[0] == "write" and target is not None:
                raise as_storage_error(error, "copy to", target)
            raise as_storage_error(error, "read", source)
    code = child.wait()
    if not last:
        raise _NoChildError
    if last != "ended":
        error = OSError(f"the process that reads it ended with {code}")
        raise as_storage_error(error, "read", source)
    return checksum


# Without a process of its own: what SQLite itself does. A descriptor stays open for as long as
# another one in this process leads to the same file.


def _blocks(path: Path, progress: Progress | None) -> Iterator[bytes]:
    with storage_errors("read", path):
        _close_unused()
        descriptor = os.open(path, os.O_RDONLY | BINARY)
    try:
        total = os.fstat(descriptor).st_size
        done = 0
        while True:
            with storage_errors("read", path):
                block = os.read(descriptor, _BLOCK)
            if not block:
                return
            yield block
            done += len(block)
            if progress is not None:
                progress(done, max(done, total))
    finally:
        close_when_unused(descriptor)


def close_when_unused(descriptor: int) -> None:
    """Close ``descriptor``, now or later: once no other one in this process leads to its file."""
    with _lock, ignoring(OSError, what="Somebody else has closed a descriptor of ours"):
        _done_with[descriptor] = os.fstat(descriptor)
    _close_unused()


_lock = threading.Lock()
_done_with: dict[int, os.stat_result] = {}


def _close_unused() -> None:
    with _lock:
        for descriptor, file in list(_done_with.items()):
            if not _leads_to(descriptor, file):  # closed by os.closerange, say: not ours any more
                del _done_with[descriptor]
            elif not _is_in_use(file):
                del _done_with[descriptor]
                os.close(descriptor)


def _is_in_use(file: os.stat_result) -> bool:
    """Whether this process has ``file`` open through another descriptor than those here."""
    if os.name != "posix":
        return False
    try:
        descriptors = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:  # a root directory without /proc, say: nobody can tell
        return True
    return any(_leads_to(one, file) for one in descriptors if one not in _done_with)


def _leads_to(descriptor: int, file: os.stat_result) -> bool:
    """Whether ``descriptor`` is open and leads to ``file``."""
    try:
        return os.path.samestat(os.fstat(descriptor), file)
    except OSError:  # as of the one that lists the directory
        return False
