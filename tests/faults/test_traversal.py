"""Hostile names: whatever is given as a backup, nothing outside is read, written or deleted.

A child process tries all names in all calls, with an audit hook that notes every path that Python
opens, lists, removes, renames, or hands to SQLite. Beside that, all that lies outside is compared
before and after: names, bytes, modes and times.

A failure of these tests must do no harm, whoever runs them: the hook refuses what it notes, and
names of files that are really there (``SYSTEM``) are given only to calls that read.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import Child, add_child, digest, make_database, within

from soulsense_db import BackupManager
from soulsense_db.backup_info.fields import digest_of
from soulsense_db.errors import BackupError, OutsideDirectoryError
from soulsense_db.sidecars.migration_marker import marker_path

# A name such as backups have; one of it is outside.
NAME = "soulsense_backup_20260101_000000_other.db"


def _named(number: int) -> str:
    return f"soulsense_backup_20260102_{number:06d}.db"


# Where a name can lead; the child is in the backup directory, so that relative ones lead out.
DOT_DOT = [
    "../outside/{name}",
    "./../outside/{name}",
    "..//..//{root_name}//outside//{name}",
    "../app.db",
    "..",
    ".",
    "../",
    "./..",
    "{directory}/..",
    "{directory}/../outside/{name}",
    "{directory}/../../{root_name}/outside/other.db",
    "{real}/../../outside/{name}",
    "{real}/..",
    "inner/{name}",
    "{directory}/inner/{name}",
    "inner/../secret.txt",
    "{directory}/inner/../app.db",
    "a/" * 2000 + "../" * 2000 + "../outside/{name}",
]
ENCODED = [
    "%2e%2e%2foutside%2f{name}",
    "%2e%2e/outside/{name}",
    "..%2foutside%2f{name}",
    "%252e%252e%252foutside%252f{name}",
    "..%c0%afoutside%c0%af{name}",
    "%c0%ae%c0%ae/outside/{name}",
    "%uff0e%uff0e/outside/{name}",
    "..%5coutside%5c{name}",
    "..\\outside\\{name}",
    "..\\..\\..\\Windows\\System32\\config\\SAM",
    "\u2025/outside/{name}",
    "\uff0e\uff0e/outside/{name}",
    "..\uff0foutside\uff0f{name}",
    "..\u2215outside\u2215{name}",
    "....//outside//{name}",
    "..././outside/{name}",
    "..;/outside/{name}",
    ".. /outside/{name}",
    "..\t/outside/{name}",
    "\n../outside/{name}",
    "&#46;&#46;&#47;outside&#47;{name}",
    "\udcc0\udcae\udcc0\udcae/outside/{name}",
]
ABSOLUTE = [
    "{outside}/{name}",
    "{outside}/other.db",
    "{outside}/secret.txt",
    "/{outside}/{name}",
    "{outside}",
    "/",
    "//",
    "/proc/self/root{outside}/{name}",
    "/proc/self/cwd/../outside/{name}",
    "~/{name}",
    "~nobody_at_all/{name}",
    "$HOME/{name}",
    "file://{outside}/{name}",
    "file:{outside}/{name}?mode=rwc",
    "sqlite:///{outside}/{name}",
]
SYSTEM = [
    "/etc/passwd",
    "../" * 60 + "etc/passwd",
    "/dev/zero",
    "/dev/null",
    "/dev/stdin",
    "/dev/fd/0",
    "/proc/self/fd/0",
    "/proc/self/mem",
    "/proc/self/environ",
    "~root/.profile",
]
DRIVES = [
    "C:\\Windows\\win.ini",
    "C:/Windows/win.ini",
    "C:{name}",
    "c:..\\outside\\{name}",
    "\\\\server\\share\\{name}",
    "//server/share/{name}",
    "\\\\?\\C:\\{name}",
    "\\\\.\\PhysicalDrive0",
    "\\\\?\\UNC\\server\\share\\{name}",
    "CON",
    "NUL",
    "LPT1.db",
]
ODD = [
    "",
    " ",
    "\0",
    "{real}\0",
    "{real}\0.txt",
    "../outside/{name}\0{real}",
    "{outside}/{name}\0",
    "{real}.",
    "{real}...",
    "{real} ",
    "{real}\n",
    "{real}::$DATA",
    "{real}:stream",
    "{real}.meta",
    ".{real}.staging",
    ".soulsense_backup.lock",
    ".gitignore",
    "*",
    "*.db",
    "soulsense_backup_*",
    "[a-z]*",
    "{{{real},{name}}}",
    "-rf",
    "--help",
    "`id`",
    "$(id)",
    "|id",
    "{real};id",
    "x" * 5000,
    "\udc80.db",
    "\u202e{real}",
    "\x1b[2J{real}",
    "latest~-1",
    "latest~999999999",
    "revision:../outside/{name}",
    "revision:",
]
# What lies in the directory, and leads out or is no file.
INSIDE = {
    "link": _named(1),
    "chain of links": _named(2),
    "link to a directory": _named(3),
    "directory": _named(4),
    "pipe": _named(5),
    "socket": _named(6),
    "link to a device": _named(7),
    "dangling link": _named(8),
    "loop of links": _named(9),
    "link to the live database": _named(10),
    "hard link to the live database": _named(11),
    "link to a pipe": _named(12),
    "device": _named(13),
}
NAMES = [*DOT_DOT, *ENCODED, *ABSOLUTE, *DRIVES, *ODD, *INSIDE.values()]
# An argument of a program cannot have a NUL in it.
FOR_THE_COMMAND_LINE = [name for name in NAMES if "\0" not in name][::2]
READING = ["get", "verify", "export", "compare"]
CALLS = [*READING, "restore", "delete", "pin", "unpin"]
COMMANDS = ["show", "verify", "restore", "delete", "pin", "export"]


@dataclass
class World:
    """A database with backups in ``directory``, and what nobody may touch in ``outside``."""

    root: Path

    @property
    def database(self) -> Path:
        """The live database."""
        return self.root / "app.db"

    @property
    def directory(self) -> Path:
        """The backup directory."""
        return self.root / "backups"

    @property
    def outside(self) -> Path:
        """A directory beside it, with files that look like backups."""
        return self.root / "outside"

    def manager(self) -> BackupManager:
        """Return a manager of the backups."""
        return BackupManager.from_url(str(self.database), lock_timeout=1)

    def around(self) -> dict[str, Any]:
        """Return all that is not ours: names, modes, times and bytes, of links where they lead."""
        seen: dict[str, Any] = {}
        for path in sorted([self.outside, *self.outside.rglob("*")]):
            status = path.lstat()
            seen[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_size, status.st_ino)
            if path.is_file() and not path.is_symlink():
                seen[str(path)] += (path.read_bytes(),)
        return seen

    def audited(self, task: str, *arguments: object) -> dict[str, Any]:
        """Do a task of ``programs/audited.py``, whose every access is noted; return what it found.

        Its ``strays`` have every path of others that was touched.
        """
        with Child("audited.py", self.root, task, *arguments) as child:
            answer: dict[str, Any] = json.loads(child.finish())
            return answer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a world with two backups, and every kind of trap among them."""
    made = World(tmp_path_factory.mktemp("traversal"))
    make_database(made.database)
    manager = made.manager()
    for description in ("one", "two"):
        manager.create(description)
    made.outside.mkdir()
    (made.root / "exports").mkdir()
    make_database(made.outside / "other.db", rows=20)
    shutil.copy(manager.list()[0].path, made.outside / NAME)
    shutil.copy(manager.list()[0].meta_path, made.outside / f"{NAME}.meta")
    (made.outside / "secret.txt").write_text("secret")
    os.mkfifo(made.outside / "pipe")
    (made.outside / "folder").mkdir()
    (made.outside / "folder" / NAME).write_text("deep")
    _set_traps(made)
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        before = Path.cwd()
        os.chdir(made.directory)  # the name of a socket is short
        listening.bind(INSIDE["socket"])
        os.chdir(before)
        yield made


def _set_traps(world: World) -> None:
    directory, outside = world.directory, world.outside
    links = {
        "link": outside / NAME,
        "chain of links": directory / "link_b",
        "link to a directory": outside / "folder",
        "link to a device": Path("/dev/zero"),
        "dangling link": outside / "nothing",
        "loop of links": directory / INSIDE["loop of links"],
        "link to the live database": world.database,
        "link to a pipe": outside / "pipe",
    }
    for kind, target in links.items():
        (directory / INSIDE[kind]).symlink_to(target)
    (directory / "link_b").symlink_to("link_c")
    (directory / "link_c").symlink_to("../outside/../outside/other.db")
    (directory / "inner").symlink_to(outside)
    (directory / INSIDE["directory"]).mkdir()
    (directory / INSIDE["directory"] / NAME).write_text("below")
    os.mkfifo(directory / INSIDE["pipe"])
    os.link(world.database, directory / INSIDE["hard link to the live database"])
    with suppress(PermissionError):  # takes root, and a system that lets it
        os.mknod(directory / INSIDE["device"], 0o600 | 0o020000, os.makedev(1, 5))


def _filled(world: World, names: list[str]) -> list[str]:
    real = world.manager().list()[0].filename
    return [
        name.format(
            name=NAME,
            real=real,
            root_name=world.root.name,
            directory=world.directory,
            outside=world.outside,
        )
        for name in names
    ]


def _in_directory(world: World) -> dict[str, Any]:
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in world.directory.rglob("*")
    }


def _given(world: World, names: list[str]) -> Path:
    path = world.root / "names"
    path.write_text(json.dumps(_filled(world, names)))
    return path


def test_there_are_names_enough() -> None:
    """At least 60 of them, of every kind, and no two the same."""
    assert len({*NAMES, *SYSTEM}) == len(NAMES) + len(SYSTEM) >= 60
    assert len(FOR_THE_COMMAND_LINE) >= 30


@pytest.mark.parametrize(("names", "calls"), [(NAMES, CALLS), (SYSTEM, READING)])
def test_no_name_leads_outside(world: World, names: list[str], calls: list[str]) -> None:
    """Every call refuses every one of them, at once, and touches nothing outside.

    Dot-dot in all encodings, absolute paths, drives, UNC, NUL, trailing dots, patterns, links,
    chains of links, directories, pipes, sockets and devices named like backups, and hard links to
    the live database. The database and its backups are what they were as well.
    """
    around, within_it, rows = world.around(), _in_directory(world), digest(world.database)
    with within(60):
        answer = world.audited(
            "call_with_names",
            _given(world, names),
            *calls,
        )
    assert answer["strays"] == []
    bad = {kind: at for kind, at in answer["outcomes"].items() if not kind.endswith("Error")}
    assert bad == {}
    assert sum(map(len, answer["outcomes"].values())) == len(names) * (len(calls) + 1)
    assert world.around() == around
    assert _in_directory(world) == within_it
    assert digest(world.database) == rows
    assert os.listdir(world.root / "exports") == []


def test_no_name_leads_the_program_outside(world: World) -> None:
    """The command line refuses them with an error of its own, and never with an internal one."""
    around, within_it, rows = world.around(), _in_directory(world), digest(world.database)
    with within(120):
        answer = world.audited(
            "run_with_names",
            _given(world, FOR_THE_COMMAND_LINE),
            *COMMANDS,
        )
    assert answer["strays"] == []
    assert set(map(int, answer["outcomes"])) <= {20, 23, 29, 30, 40, 41}, answer["outcomes"]
    for outcomes in answer["outcomes"].values():
        for case, out, err in outcomes:
            assert out == "", case
            assert err.startswith("Error: "), case
            assert "\x1b" not in err, case
    assert world.around() == around
    assert _in_directory(world) == within_it
    assert digest(world.database) == rows


def test_a_list_waits_for_nothing(world: World) -> None:
    """Pipes, sockets, devices and links named like backups are no backups.

    List, status and prune go on past them at once, and leave them where they are.
    """
    trap = world.directory / f"{_named(20)}.meta"
    os.mkfifo(trap)
    shutil.copy(world.manager().list()[-1].path, world.directory / _named(20))
    around = world.around()
    with within(30):
        answer = world.audited("list_all")
    (world.directory / _named(20)).unlink()
    trap.unlink()
    assert answer["strays"] == []
    assert len(answer["names"]) == 3
    assert not set(answer["names"]) & set(INSIDE.values())
    assert world.around() == around


def test_no_description_leads_outside(world: World) -> None:
    """Whatever a backup is said to be for, its file is directly inside, and so is its meta file."""
    around = world.around()
    with within(60):
        answer = world.audited(
            "create_with_names",
            _given(world, [*DOT_DOT, *ENCODED, *ABSOLUTE[::3], *DRIVES[::3], *ODD]),
        )
    assert answer["strays"] == []
    assert {Path(path).parent for path in answer["paths"]} == {world.directory}
    assert len(answer["paths"]) > 60
    assert all(answer["kept"])
    assert world.around() == around


HOSTILE_FACTS: list[dict[str, Any]] = [
    {"filename": "../outside/other.db"},
    {"filename": "{secret}", "path": "{secret}", "meta_path": "{secret}"},
    {"path": "../outside/other.db"},
    {"database_relative": "../outside/other.db"},
    {"database_path": "{secret}", "database_relative": "../outside/other.db"},
    {"database": "../outside/other.db", "database_path": "../outside/other.db"},
    {"id": "../outside/other.db", "kind": "manual"},
    {"id": "x/../../outside/secret.txt"},
    {"alembic_heads": ["../outside/other.db"], "target_revision": "../outside/other.db"},
    {"driver_facts": {"journal_mode": "../outside/other.db", "page_size": "-1"}},
    {"description": "../outside/\0other.db"},
    {"kind": "../outside"},
    {"dialect": "../outside", "pin_note": "../outside", "pinned": True},
    {"size_bytes": -1},
    {"created_at": "0001-01-01T00:00:00+00:00"},
    {"driver_facts": None},
]


@pytest.mark.parametrize("facts", HOSTILE_FACTS, ids="+".join)
def test_no_meta_file_leads_outside(tmp_path: Path, facts: dict[str, Any]) -> None:
    """A meta file with right checksums that names files outside leads to none of them.

    Where a backup is, its own place tells; which database it is of is compared and never opened.
    """
    world = World(tmp_path)
    make_database(world.database)
    world.outside.mkdir()
    make_database(world.outside / "other.db")
    secret = world.outside / "secret.txt"
    secret.write_text("secret")
    facts = {key: str(secret) if value == "{secret}" else value for key, value in facts.items()}
    info = world.manager().create("told")
    told = json.loads(Path(info.meta_path).read_bytes()) | facts
    del told["meta_sha256"]
    told["meta_sha256"] = digest_of(told)
    Path(info.meta_path).write_text(json.dumps(told))
    add_child(world.database)
    around, manager = world.around(), world.manager()
    (found, *_) = [*manager.list(), *manager.others()]
    assert (found.path, found.meta_path) == (info.path, info.meta_path)
    for call in (manager.verify, manager.compare, manager.restore, manager.pin, manager.unpin):
        with suppress(BackupError):
            call(info.filename)
    with suppress(BackupError):
        assert manager.export(info.filename, tmp_path / "out.db") == tmp_path / "out.db"
    for ref in {str(value) for value in facts.values()} - {"manual", "True"}:
        with suppress(BackupError):
            assert manager.get(ref).path == info.path
    manager.catalog.rebuild()
    with suppress(BackupError):
        manager.delete(info.filename)
    assert world.around() == around
    assert world.database.exists()


@pytest.mark.parametrize(
    "backup",
    [
        "../outside/other.db",
        "{outside}/other.db",
        "{outside}/" + NAME,
        "..",
        "",
        "\0",
        "$(touch {outside}/made)",
        "'; touch {outside}/made; '",
    ],
)
def test_no_marker_leads_outside(tmp_path: Path, backup: str) -> None:
    """The backup that a marker names is compared by name and shown quoted, and nothing else.

    A delete, a prune and a status read nothing at its place; the way back is only what a person
    types, and refused where it is not inside.
    """
    world = World(tmp_path)
    make_database(world.database)
    world.outside.mkdir()
    make_database(world.outside / "other.db")
    backup = backup.format(outside=world.outside)
    manager = world.manager()
    for description in ("one", "two"):
        manager.create(description)
    marker: dict[str, Any] = {
        "backup": backup,
        "alembic_heads": ["../outside"],
        "target_revision": "../outside",
        "started_at": "../outside",
    }
    marker["sha256"] = digest_of(marker)
    marker_path(world.database).write_text(json.dumps(marker))
    around = world.around()
    with suppress(BackupError):
        manager.restore(backup)
    assert world.around() == around
    marker_path(world.database).write_text(json.dumps(marker))
    answer = world.audited("obey_the_marker")
    assert answer["strays"] == []
    assert answer["code"] == 70, answer
    assert world.around() == around


# Hard links


def test_a_hard_link_to_a_file_outside(tmp_path: Path) -> None:
    """A hard link named like a backup is a backup: nothing tells which of a file's names is first.

    Tools that copy a directory by hard links make such, so it is not refused. It is read, and
    restored when it is sound, as a file without a meta file is; the file outside keeps its other
    name, bytes, mode and times through every call, delete and pin included. A text that is no
    database is refused as any other damaged backup, and so is a hard link to the live database.
    """
    world = World(tmp_path)
    make_database(world.database)
    world.outside.mkdir()
    make_database(world.outside / "other.db", rows=20)
    (world.outside / "secret.txt").write_text("secret")
    world.directory.mkdir()
    os.link(world.outside / "other.db", world.directory / _named(1))
    os.link(world.outside / "secret.txt", world.directory / _named(2))
    os.link(world.outside / "secret.txt", world.directory / f"{_named(1)}.meta")
    os.link(world.database, world.directory / _named(3))
    around, rows, manager = world.around(), digest(world.outside / "other.db"), world.manager()
    manager.create("beside them")
    sound, text, live = map(_named, (1, 2, 3))
    manager.verify(sound)
    manager.pin(sound)
    manager.unpin(sound)
    with pytest.raises(BackupError):
        manager.restore(text)
    for call in (manager.get, manager.restore, manager.delete):
        with pytest.raises(OutsideDirectoryError):
            call(live)
    manager.restore(sound)
    assert digest(world.database) == rows
    add_child(world.database)
    with closing(sqlite3.connect(world.outside / "other.db")) as connection:
        assert connection.execute("SELECT count(*) FROM child").fetchone() == (20,)
    assert manager.export(sound, tmp_path / "out.db").stat().st_nlink == 1
    manager.delete(sound)
    manager.delete(text)
    assert world.around() == around
    assert sorted(os.listdir(world.outside)) == ["other.db", "secret.txt"]
