"""What may be on a disk after the power fails, from a trace of what was written.

A strict disk: only what was flushed is sure to be there. Of file contents that is what an ``fsync``
of the file followed, of names what an ``fsync`` of the directory followed. Everything else (each
write, each change of a length, each new, changed or removed name) is there or not, in any
combination, and a write of several sectors may be there in part.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

# The calls that a trace must hold. All strings in it are in hexadecimal, whole.
CALLS = (
    *("openat", "close", "dup", "dup2", "dup3", "fcntl", "lseek", "read", "write", "pwrite64"),
    *("ftruncate", "fsync", "fdatasync", "rename", "unlink", "link", "mkdir", "rmdir"),
    *("renameat", "unlinkat", "linkat", "mkdirat"),
)
_STARTS = ("clone", "clone3", "fork", "vfork")
_TRACED = ",".join((*CALLS, *_STARTS, "execve"))
STRACE_OPTIONS = ("-xx", "-s", "1000000", "-e", f"trace={_TRACED}")

# What of the unflushed is there, of each file and of the names: "first", what came first; "one", a
# single change.
Choice = Literal["nothing", "everything", "some", "first", "one"]
_OF_NAMES = ("rename", "unlink", "link", "mkdir", "rmdir")
_SECTOR = 512
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")


@dataclass
class File:
    """Contents: what is on the disk, and what was written since, in order."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def write(self, offset: int, data: bytes | None) -> None:
        """Write ``data`` at ``offset``, or with None make that the length."""
        self.pending.append((offset, data))

    def flush(self, upto: int | None = None) -> None:
        """Bring the first ``upto`` of what is pending to the disk."""
        upto = len(self.pending) if upto is None else upto
        for change in self.pending[:upto]:
            self.durable = _changed(self.durable, *change)
        del self.pending[:upto]

    def after_a_crash(self, random: Random, choice: Choice) -> bytes:
        """Return contents that there may be then."""
        contents = self.durable
        for (offset, data), is_there in zip(
            self.pending, _drawn(len(self.pending), random, choice), strict=True
        ):
            if is_there:
                contents = _changed(contents, offset, data)
            elif choice == "some" and data and random.random() < 0.5:  # torn
                kept = random.randrange(len(data) // _SECTOR + 1) * _SECTOR
                contents = _changed(contents, offset, data[:kept])
        return contents


def _drawn(count: int, random: Random, choice: Choice) -> list[bool]:
    """Return of each of ``count`` changes whether it is on the disk."""
    if choice == "some":
        return [random.random() < 0.5 for _ in range(count)]
    if choice == "one":
        chosen = random.randrange(count) if count else None
        return [number == chosen for number in range(count)]
    kept = {"nothing": 0, "everything": count, "first": random.randint(0, count)}[choice]
    return [number < kept for number in range(count)]


def _changed(contents: bytes, offset: int, data: bytes | None) -> bytes:
    if data is None:
        return contents[:offset].ljust(offset, b"\0")
    return contents[:offset].ljust(offset, b"\0") + data + contents[offset + len(data) :]


@dataclass
class Renaming:
    """One change of names in a directory; it is done whole or not at all."""

    directory: str
    names: dict[str, File | None]  # the file of each name from then on


@dataclass
class Disk:
    """Files and directories below a folder, by paths."""

    durable: dict[str, File] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    pending: list[Renaming] = field(default_factory=list)

    def names(self) -> dict[str, File]:
        """Return what a running program sees."""
        seen = dict(self.durable)
        for change in self.pending:
            _rename(seen, change)
        return seen

    def change(self, directory: str, **names: File | None) -> None:
        """Change names in ``directory``, not flushed yet."""
        self.pending.append(Renaming(directory, names))

    def flush(self, directory: str) -> None:
        """Bring the names in ``directory`` to the disk."""
        for change in [change for change in self.pending if change.directory == directory]:
            _rename(self.durable, change)
            self.pending.remove(change)

    @property
    def is_flushed(self) -> bool:
        """Whether nothing is left to chance."""
        return not self.pending and not any(file.pending for file in self.names().values())

    def crash(self, folder: Path, random: Random, choice: Choice) -> None:
        """Make ``folder`` what there may be after the power failed."""
        names = dict(self.durable)
        for change, is_there in zip(
            self.pending, _drawn(len(self.pending), random, choice), strict=True
        ):
            if is_there:
                _rename(names, change)
        shutil.rmtree(folder, ignore_errors=True)
        for directory in sorted(self.directories):
            Path(directory).mkdir(parents=True, mode=0o700)
        for path, file in names.items():
            Path(path).write_bytes(file.after_a_crash(random, choice))
            Path(path).chmod(0o600)


def _rename(names: dict[str, File], change: Renaming) -> None:
    for name, file in change.names.items():
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


@dataclass
class _Open:
    path: str
    file: File | None  # None for a directory
    position: int = 0


class Replay:
    """The disk at every point of a ``trace`` made in ``folder``, a copy of ``before``.

    ``opened``: the files that were open when the trace began, by descriptor.
    """

    def __init__(self, folder: Path, trace: Path, *, before: Path, opened: dict[int, str]) -> None:
        self.folder = folder
        self._trace = trace
        self.disk = Disk(directories={str(folder)})
        for path in before.rglob("*"):
            name = str(folder / path.relative_to(before))
            if path.is_file():
                self.disk.durable[name] = File(path.read_bytes())
            else:
                self.disk.directories.add(name)
        # Of each process: one that is started begins with a copy of what its parent has open.
        self._tables: dict[str, dict[int, _Open]] = {}
        self._open = {
            descriptor: _Open(path, self.disk.durable.setdefault(path, File()))
            for descriptor, path in opened.items()
            if path.startswith(str(folder))
        }

    def points(self) -> list[Disk]:
        """Return the disk after each call that left something unflushed, and at the end."""
        found = []
        lines = self._trace.read_text().splitlines()
        process_of, parent_of = _processes(lines)
        for thread, name, arguments, result in _calls(lines):
            process = process_of.get(thread, "")
            if process not in self._tables:
                parent = self._tables.get(parent_of.get(process, ""), self._open)
                self._tables[process] = dict(parent)
            self._open = self._tables[process]
            if result >= 0 and self._do(name, arguments, result) and not self.disk.is_flushed:
                found.append(deepcopy(self.disk))
        return [*found, self.disk]

    def _do(self, name: str, arguments: list[str], result: int) -> bool:
        """Follow one call; return whether it changed the disk."""
        if name == "openat" or name.removesuffix("at") in _OF_NAMES:
            paths = self._paths(arguments)
            if not all(path.startswith(str(self.folder)) for path in paths):
                if name == "openat":
                    self._open.pop(result, None)
                return False
            does = name if name == "openat" else name.removesuffix("at")
            return bool(getattr(self, f"_{does}")(*paths, arguments, result))
        if name in ("close", "execve"):  # who starts a program closes all but the standard streams
            closed = {int(arguments[0])} if name == "close" else set(self._open) - {0, 1, 2}
            for descriptor in closed:
                self._open.pop(descriptor, None)
            return False
        opened = self._open.get(int(arguments[0]))
        if opened is None:
            return False
        if name in ("dup", "dup2", "dup3") or (name == "fcntl" and "DUPFD" in arguments[1]):
            self._open[result] = opened
            return False
        return self._use(opened, name, arguments, result)

    def _paths(self, arguments: list[str]) -> list[str]:
        """Return the paths among the arguments; the directory of one stands before it."""
        found = []
        for before, argument in zip(["", *arguments], arguments, strict=False):
            if not argument.startswith('"'):
                continue
            path = _text(argument)
            if before.isdigit() and not path.startswith("/"):
                directory = self._open.get(int(before))
                path = f"{directory.path}/{path}" if directory else path
            found.append(path)
        return found

    def _use(self, opened: _Open, name: str, arguments: list[str], result: int) -> bool:
        file = opened.file
        if name in ("fsync", "fdatasync"):
            if file is None:
                self.disk.flush(opened.path)
            else:
                file.flush()
            return True
        assert file is not None or name in ("fcntl", "lseek"), f"{name} of a directory"
        if file is None:
            return False
        if name == "lseek":
            opened.position = result
        elif name == "read":
            opened.position += result
        elif name == "write":
            file.write(opened.position, _bytes(arguments[1])[:result])
            opened.position += result
        elif name == "pwrite64":
            file.write(int(arguments[3]), _bytes(arguments[1])[:result])
        elif name == "ftruncate":
            file.write(int(arguments[1]), None)
        return name in ("write", "pwrite64", "ftruncate")

    def _openat(self, path: str, arguments: list[str], result: int) -> bool:
        if path in self.disk.directories:
            self._open[result] = _Open(path, None)
            return False
        file = self.disk.names().get(path)
        is_new = file is None
        if file is None:
            assert "O_CREAT" in arguments[2], f"opened a file that is not there: {path}"
            file = File()
            self.disk.change(_parent(path), **{path: file})
        elif "O_TRUNC" in arguments[2]:
            file.write(0, None)
        self._open[result] = _Open(path, file)
        return is_new

    def _rename(self, source: str, target: str, *_: object) -> bool:
        self.disk.change(_parent(target), **{target: self.disk.names()[source], source: None})
        return True

    def _unlink(self, path: str, *_: object) -> bool:
        self.disk.change(_parent(path), **{path: None})
        return True

    def _link(self, source: str, target: str, *_: object) -> bool:
        self.disk.change(_parent(target), **{target: self.disk.names()[source]})
        return True

    def _mkdir(self, path: str, *_: object) -> bool:
        self.disk.directories.add(path)  # of ours only the backup directory: there before
        return True

    def _rmdir(self, path: str, *_: object) -> bool:
        self.disk.directories.discard(path)
        return True


def _processes(lines: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the process of each thread that is not of the first, and who started each process."""
    process_of: dict[str, str] = {}
    parent_of: dict[str, str] = {}
    begun: dict[str, str] = {}
    for line in lines:
        thread, _, text = line.partition(" ")
        text = text.strip()
        if text.startswith(_STARTS) and text.endswith("<unfinished ...>"):
            begun[thread] = text
        started = re.match(rf"(<\.\.\. )?({'|'.join(_STARTS)})\b.* = (\d+)$", text)
        if started is None:
            continue
        mine, new = process_of.get(thread, ""), started[3]
        if "CLONE_THREAD" in text + (begun.pop(thread, "") if started[1] else ""):
            process_of[new] = mine
        else:
            process_of[new], parent_of[new] = new, mine
    return process_of, parent_of


def _calls(lines: list[str]) -> Iterator[tuple[str, str, list[str], int]]:
    """Yield thread, name, arguments and result of each call, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in lines:
        thread, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>").rstrip()
            continue
        if text.startswith("<... "):
            text = begun.pop(thread) + text.partition(" resumed>")[2]
        match = _CALL.match(text)
        if match and match[1] not in _STARTS:
            yield thread, match[1], re.split(r", *", match[2]), int(match[3])


def _bytes(argument: str) -> bytes:
    assert not argument.endswith("..."), "a string was cut"
    return bytes.fromhex(argument.strip('"').replace("\\x", ""))


def _text(argument: str) -> str:
    return _bytes(argument).decode()


def _parent(path: str) -> str:
    return str(Path(path).parent)
