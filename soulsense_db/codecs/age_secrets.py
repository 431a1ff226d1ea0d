"""Secret texts: where one comes from, and how it is read at the moment it is needed.

A secret is never an argument, never kept, and in no message, log record or ``repr()``. Where
reading fails, the error of the library or the system is not the cause of ours: it may hold a part.
"""

from __future__ import annotations

import logging
import os
import re
import selectors
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from soulsense_db.codecs.errors import (
    command_failed,
    command_hangs,
    command_missing,
    file_open_to_others,
    file_unreadable,
    function_failed,
    key_in_pipe,
    no_text,
    nothing_secret,
    secret_as_name,
    too_large,
)
from soulsense_db.errors import BackupError
from soulsense_db.notices import log_event
from soulsense_db.shown_text import shell_command

# Not every word that a file's name or a key's comment may have: secret-key-2.txt is one.
_SECRET: Final = re.compile(r"SECRET-KEY-(PQ-)?1[0-9A-Z]{20}|PRIVATE KEY-----", re.IGNORECASE)
_LARGEST: Final = 1024 * 1024
_TIMEOUT: Final = 60.0  # seconds: somebody may have to type something, or touch a key


def holds_secret(text: str) -> bool:
    """Whether ``text`` has a secret key in it, or the beginning of one."""
    return _SECRET.search(text) is not None


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` with the home of a user for ``~``, as a shell would."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user: then it is a name like others
        return Path(path)


class Secret:
    """A text that nobody may see: it is read when it is needed, each time anew.

    Args:
        source: Where it comes from, in the words of a message.
        read: Returns the text, or raises an error of the tree.

    Example:
        >>> Secret.from_environment("APP_KEY")
        Secret(the environment variable APP_KEY)
    """

    __slots__ = ("_read", "source")

    def __init__(self, source: str, read: Callable[[], bytes]) -> None:
        self.source = source
        self._read = read

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Secret:
        """Return what is in a file, which nobody but its owner may read."""
        _require_no_secret(os.fspath(path), "the name of a key file")
        file = expanded(path)
        return cls(f"the file {file}", lambda: _in_file(file))

    @classmethod
    def from_environment(cls, name: str) -> Secret:
        """Return what an environment variable holds."""
        _require_no_secret(name, "the name of an environment variable")
        return cls(
            f"the environment variable {name}", lambda: os.fsencode(os.environ.get(name, ""))
        )

    @classmethod
    def from_command(cls, arguments: Sequence[str], *, timeout: float = _TIMEOUT) -> Secret:
        """Return what a command prints; it is run without a shell, for ``timeout`` seconds.

        Nothing but the name of the program is ever shown: the arguments may hold a secret too.
        """
        # Who gives one text hears that it is no program's name.
        command = (arguments,) if isinstance(arguments, str) else tuple(arguments)
        _require_no_secret(" ".join(command), "a command that prints one")
        program = Path((" ".join(command[:1]).split() or [""])[0]).name
        return cls(f"the command {program}", lambda: _printed_by(command, program, timeout))

    @classmethod
    def from_callable(cls, function: Callable[[], str]) -> Secret:
        """Return what ``function`` returns."""
        return cls("the function for it", lambda: _returned_by(function))

    def read(self) -> bytes:
        """Return it. Raises :class:`~soulsense_db.errors.IdentityError` where there is none."""
        found = self._read()
        if not found.strip():
            raise nothing_secret(self.source)
        if len(found) > _LARGEST:
            raise too_large(self.source)
        return found

    def read_line(self) -> str:
        """Return a passphrase: the text without the end of its line."""
        data = self.read()
        try:
            return data.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            pass
        raise no_text(self.source)  # outside: the error holds the passphrase

    def __repr__(self) -> str:
        return f"Secret({self.source})"


def _require_no_secret(name: str, what: str) -> None:
    if holds_secret(name):
        raise secret_as_name(what)


def _in_file(path: Path) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO must not wait for somebody to write to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISFIFO(status.st_mode):
                raise key_in_pipe(path)
            mode = stat.S_IMODE(status.st_mode)
            if not mode & (stat.S_IRWXG | stat.S_IRWXO):
                return file.read(_LARGEST + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except ValueError:  # a NUL in the name
        reason = "no file can have this name"
    else:
        raise file_open_to_others(path, f"{mode:04o}", shell_command("chmod", "600", path))
    raise file_unreadable(path, reason)


def _returned_by(function: Callable[[], str]) -> bytes:
    try:
        return function().encode()
    except BackupError:  # somebody who was asked has said no
        raise
    except Exception as error:  # noqa: BLE001 - the application's own function
        failure = type(error).__name__
    log_event(logging.DEBUG, f"The function for a secret raised {failure}.")
    raise function_failed(failure)  # outside: the error's text may hold the secret


def _printed_by(command: Sequence[str], program: str, timeout: float) -> bytes:
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except (OSError, ValueError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "no command"
    else:
        deadline = time.monotonic() + timeout
        assert process.stdout is not None
        with process.stdout as output:
            try:
                printed = _until_end(output, deadline)
                if len(printed) > _LARGEST:
                    return printed
                # It has closed its output, and is to end.
                code = process.wait(max(0.0, deadline - time.monotonic()))
            except (TimeoutError, subprocess.TimeoutExpired):
                code = None
            finally:
                # Nothing is waited for that it has started itself.
                process.kill()
                process.wait()
        if code is None:
            raise command_hangs(program, timeout)
        if code:
            raise command_failed(program, code)
        return printed
    raise command_missing(program, reason)


def _until_end(output: IO[bytes], deadline: float) -> bytes:
    """Return what comes until the end, or until there is too much of it."""
    found = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while len(found) <= _LARGEST:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            data = os.read(output.fileno(), 65536)
            if not data:
                break
            found += data
    return bytes(found)
