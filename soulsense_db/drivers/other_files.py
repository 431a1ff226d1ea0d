"""What a file is that is no backup: whoever tries to import one is told what to do with it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from soulsense_db.errors import NotADatabaseError
from soulsense_db.shown_text import shell_command

_FIRST_BYTES = 512  # of which a tar archive has its mark in the middle
_TAR = (257, b"ustar")
_COMPRESSED = (
    (b"\x1f\x8b", "gzip", "gunzip -k"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -d"),
    (b"\xfd7zXZ\0", "xz", "xz -dk"),
    (b"BZh", "bzip2", "bzip2 -dk"),
    (b"PK\x03\x04", "zip", "unzip"),
)
_SCRIPT = b"-- PostgreSQL database "  # "dump", or "cluster dump"
_OF_OTHERS = (
    (b"SQLite format 3\0", "an SQLite database"),
    (b"PGDMP", "an archive of PostgreSQL's pg_dump"),
    (_SCRIPT, "a script of PostgreSQL's pg_dump"),
    (b"-- MariaDB dump ", "a dump of MariaDB"),
    (b"-- soulsense_db: a backup of a MariaDB", "a backup of a MariaDB database"),
    (b"-- MySQL dump ", "a dump of MySQL"),
)
_ANOTHER = "Use another backup."


def refuse(
    kind: str,
    path: Path,
    *,
    name: str = "",
    hint: str = _ANOTHER,
    cause: BaseException | None = None,
) -> NoReturn:
    """Raise the error for a file that is not ``kind``, such as "an SQLite database".

    ``name``: its name in errors; ``hint``: what to do where it cannot be told what it is;
    ``cause``: what its library said.
    """
    name = name or path.name
    head = b""
    with suppress(OSError), path.open("rb") as stream:  # that it is none is known already
        head = stream.read(_FIRST_BYTES)
    what, known_hint = _told(head, path, is_postgresql="PostgreSQL" in kind)
    raise NotADatabaseError(
        f"Invalid backup file: {name} is {what}not {kind}.", hint=known_hint or hint
    ) from cause


def _told(head: bytes, path: Path, *, is_postgresql: bool) -> tuple[str, str]:
    """Return what a file is, and what to do about it; empty where nobody knows."""
    for mark, program, command in _COMPRESSED:
        if head.startswith(mark):
            words = shell_command(*command.split(), path)
            return f"compressed with {program}, and ", f"Decompress it, and import that: {words}"
    at, mark = _TAR
    if is_postgresql and (head[:200].find(_SCRIPT) >= 0 or head[at:].startswith(mark)):
        what = "a tar archive" if head[at:].startswith(mark) else "a script of SQL"
        return f"{what}, and ", (
            "Make the dump in pg_dump's custom format, and import that: pg_dump -Fc. Or load it "
            "into a new database with PostgreSQL's own programs, and back that one up."
        )
    for mark, what in _OF_OTHERS:
        if head[:200].find(mark) >= 0 if mark.startswith(b"--") else head.startswith(mark):
            return f"{what}, and ", "Import it where the database is of the same kind."
    return "", ""
