"""Read what ``mariadb-dump`` alone has written: statements of the kinds that it writes, no others.

Such a file may be anybody's, and would be executed with all rights of the user. So nothing of it is
passed on as it is, but for statements that are known from their first to their last character, or
known by their beginning and made as one statement each, which is not run before all rows are there:
a trigger, say. What only sets the session is not executed at all. All else is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from soulsense_db import fs
from soulsense_db.drivers.mariadb.contents import COMPLETED
from soulsense_db.drivers.mariadb.errors import cut_off, not_of_the_program, several_databases
from soulsense_db.errors import InvalidBackupError

_BEGINNING = re.compile(
    rb"(?:/\*M!999999\\- [^\n]*\n)?-- (?:MariaDB dump |MySQL dump [^\n]*-MariaDB)[^\n]*\n"
)
_FIRST_BYTES = 4096
_LAST_BYTES = 512
_COMPLETED_AT = re.compile(COMPLETED + rb" on (\d{4})-(\d\d)-(\d\d) +(\d{1,2}):(\d\d):(\d\d)\s*\Z")
_LONGEST = 64 * 1024 * 1024  # of a statement that makes something
_ENCODINGS = {"utf8", "utf8mb3", "utf8mb4"}

_NAME = r"`(?:[^`]|``)+`"
_TEXT = r"'(?:[^'\\]|\\.|'')*+'"
_EITHER = r"""(?:`(?:[^`]|``)*`|"(?:[^"]|"")*")"""  # by the mode that a program is made with
_DEFINER = rf"DEFINER={_EITHER}@{_EITHER}"
_SERVER = re.compile(rb"-- Server version\t(\d+\.\d+[^\s]*)")
_SET = re.compile(r"/\*M?!\d{5,6} SET (.*)\*/", re.DOTALL)
_NAMES = re.compile(r"NAMES (\w+) ?")
_SETTING = re.compile(r"(\w+)\s*=\s*(?:@\w+|'?([\w,+:/-]*)'?) ?")
_FIELDS = {
    "sql_mode": "sql_mode",
    "character_set_client": "charset",
    "collation_connection": "collation",
    "time_zone": "time_zone",
}
_IGNORED = re.compile(
    r"SET [@\w]+\s*=\s*[@\w]+(?:, [@\w]+\s*=\s*[@\w]+)*"
    rf"|LOCK TABLES {_NAME} WRITE|UNLOCK TABLES|set autocommit=0|commit|COMMIT"
    rf"|/\*!40000 ALTER TABLE {_NAME} (?:DIS|EN)ABLE KEYS \*/"
    rf"|ALTER DATABASE {_NAME} CHARACTER SET \w+ COLLATE \w+"
    rf"|DROP (?:TABLE|SEQUENCE) IF EXISTS {_NAME}"
    r"|/\*!\d{5} DROP (?:TABLE|VIEW|PROCEDURE|FUNCTION|PACKAGE|PACKAGE BODY|TRIGGER|EVENT)"
    rf" IF EXISTS (?:{_NAME}|[\w$]+) ?\*/"  # that of a trigger is as it was typed
)
_SEVERAL = re.compile(r"(?:/\*!\d{5} )?(?:USE|CREATE DATABASE|DROP DATABASE)\b")
_TABLE = re.compile(rf"CREATE TABLE (?:IF NOT EXISTS )?({_NAME}) \(\n.*", re.DOTALL)
_SEQUENCE = re.compile(rf"CREATE SEQUENCE {_NAME} [\w =-]+|DO SETVAL\({_NAME}, -?\d+, \d\)")
_COLUMNS_OF_VIEW = re.compile(
    rf"/\*!50001 (CREATE VIEW {_NAME} AS SELECT(?:\s+(?:NULL|1) AS {_NAME},?)+)\s*\*/"
)
_VIEW = re.compile(
    rf"/\*!50001 CREATE (ALGORITHM=\w+) \*/\n/\*!50013 ({_DEFINER} SQL SECURITY \w+) \*/\n"
    rf"/\*!50001 (VIEW {_NAME}[ (].*?) \*/(?:\n/\*!50002 (WITH \w+ CHECK OPTION) \*/)?",
    re.DOTALL,
)
_ROUTINE = re.compile(
    rf"CREATE (?:{_DEFINER} )?(?:(?:PROCEDURE|(?:AGGREGATE )?FUNCTION) {_EITHER}\s*\("
    rf"|PACKAGE (?:BODY )?{_EITHER}\s).*",
    re.DOTALL,
)
_OTHER_NAME = r'(?:`(?:[^`]|``)+`|[\w$]+|"(?:[^"]|"")+")'
_TRIGGER = re.compile(
    rf"/\*!50003 CREATE\*/ (?:/\*!50017 ({_DEFINER})\*/ )?/\*!50003 TRIGGER\s+"
    rf"(?:IF\s+NOT\s+EXISTS\s+)?(?:{_OTHER_NAME}\s*\.\s*)?({_OTHER_NAME})\s+"
    rf"((?:BEFORE|AFTER)\s+(?:INSERT|UPDATE|DELETE))\s+ON\s+(?:{_OTHER_NAME}\s*\.\s*)?({_OTHER_NAME})\s+"
    r"(FOR\s+EACH\s+ROW\b.*?)\s*\*/",
    re.DOTALL | re.IGNORECASE,
)
_EVENT = re.compile(
    rf"/\*!50106 CREATE\*/ (?:/\*!50117 ({_DEFINER})\*/ )?"
    rf"/\*!50106 (EVENT {_EITHER} .*?)\s*\*/",
    re.DOTALL,
)
_INSERT = re.compile(
    # No backslash in a name: the program mariadb, which reads rows, need not read that alike.
    rb"(?:INSERT|REPLACE) +(?:(?:IGNORE|DELAYED) +)*INTO (`(?:[^`\\]|``)+`)"
    rb" (\((?:(?:`(?:[^`\\]|``)+`|\w+)(?:, )?)+\) )?VALUES[ \n]"
)
_VALUE = rb"(?:(?:_binary )?'(?:[^'\\]++|\\.|'')*+'|NULL|0x[0-9A-Fa-f]++|-?[\d.]++(?:e[+-]?\d++)?)"
_ROW = re.compile(rb"\(" + _VALUE + rb"(?:," + _VALUE + rb")*+\)", re.DOTALL)
_WHOLE = re.compile(rf"(?:{_NAME}|{_TEXT}|[^`'])*+", re.DOTALL)
_QUOTED = re.compile(rf"({_NAME})|{_TEXT}", re.DOTALL)
# What a table may not have: rows of another query, a file or server elsewhere, a second statement.
_NOT_IN_A_TABLE = re.compile(
    r"\b(?:SELECT|UNION|CONNECTION|DIRECTORY)\b|[;#@\"]|--|/\*|`\s*\.|\.\s*[`A-Z_]",
    re.IGNORECASE,
)
_ENGINE = re.compile(r"\bENGINE\s*=\s*(\w+)", re.IGNORECASE)
_ENGINES = {"innodb", "myisam", "aria", "memory", "archive", "csv", "rocksdb", "columnstore"}


class Settings(NamedTuple):
    """What a program is made with."""

    sql_mode: str = ""
    charset: str = "utf8mb4"
    collation: str = ""
    time_zone: str = ""


class Made(NamedTuple):
    """A statement that makes something; ``kind``: what that is."""

    kind: Literal["table", "sequence", "view", "routine", "trigger", "event"]
    statement: str
    settings: Settings


@dataclass
class ForeignDump:
    """What is in a dump: rows of each table by its name, and what makes it.

    ``version``: of its server; ``is_of_utc``: whether its moments are those of UTC.
    """

    version: str = ""
    is_of_utc: bool = False
    has_history: bool = False
    rows: Counter[str] = field(default_factory=Counter)
    made: list[Made] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)

    @property
    def preamble(self) -> bytes:
        """What sets the session that its rows are written in."""
        texts = [
            "SET NAMES utf8mb4;",
            "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO', unique_checks = 0, foreign_key_checks = 0;",
            "SET time_zone = '+00:00';" if self.is_of_utc else "",
            "SET system_versioning_insert_history = 1;" if self.has_history else "",
        ]
        return "\n".join(texts).encode() + b"\n"


def is_foreign(path: Path) -> bool:
    """Whether a file begins as ``mariadb-dump`` begins."""
    with fs.storage_errors("read", path), path.open("rb") as stream:
        return _BEGINNING.match(stream.read(_FIRST_BYTES)) is not None


def require_end(path: Path) -> None:
    """Raise for a dump that lacks its last line."""
    if COMPLETED not in _end_of(path):
        raise cut_off(path.name)


def completed_at(path: Path) -> datetime | None:
    """Return the date in the last line of a dump; None without one, as of ``--skip-dump-date``.

    It is local time without a zone: that of this machine, here.
    """
    match = _COMPLETED_AT.search(_end_of(path))
    if match is None:
        return None
    try:
        return datetime(*map(int, match.groups())).astimezone(UTC)  # type: ignore[arg-type]
    except (ValueError, OverflowError, OSError):  # no date at all
        return None


def _end_of(path: Path) -> bytes:
    with fs.storage_errors("read", path), path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _LAST_BYTES))
        return stream.read()


def read(path: Path) -> ForeignDump:
    """Read all of a dump; raises for one that is not whole, or has what no dump has."""
    reader = _Reader(path)
    for _ in reader.rows():
        pass
    return reader.dump


def rows(path: Path) -> Iterator[bytes]:
    """Yield the statements that write its rows, which are read once more, as carefully."""
    yield from _Reader(path).rows()


class _Reader:
    """Reads a dump line by line."""

    def __init__(self, path: Path) -> None:
        self._path, self._line = path, 0
        self.dump = ForeignDump()
        self._settings = Settings()
        self._delimiter = b";"
        self._pending = bytearray()
        self._is_completed = False

    def rows(self) -> Iterator[bytes]:
        """Yield statements with rows, and keep what else there is."""
        with fs.storage_errors("read", self._path), self._path.open("rb") as stream:
            for line in stream:
                self._line += 1
                if not self._pending and (match := _INSERT.match(line)):
                    yield from self._insert(match, line, stream)
                else:
                    self._other(line)
        if self._pending or not self._is_completed:
            raise cut_off(self._path.name)

    def _insert(self, match: re.Match[bytes], line: bytes, stream: BinaryIO) -> Iterator[bytes]:
        self._is_completed = False
        table = match[1][1:-1].replace(b"``", b"`").decode("utf-8", "surrogateescape")
        if table not in self.dump.tables:
            raise self._refused("it has rows of a table that it does not make")
        yield b"INSERT INTO " + match[1] + b" " + (match[2] or b"") + b"VALUES\n"
        rest = line[match.end() :]
        while True:
            if not rest:
                self._line += 1
                rest = next(stream, b"")
            number, is_last = self._counted(rest)
            self.dump.rows[table] += number
            yield rest
            if is_last:
                return
            rest = b""

    def _counted(self, line: bytes) -> tuple[int, bool]:
        """Return how many rows a line has, and whether a semicolon ends it."""
        at, number = 0, 0
        while row := _ROW.match(line, at):
            number += 1
            at = row.end() + 1
            if line[row.end() :] in (b",\n", b";\n"):
                return number, line[row.end() : at] == b";"
            if line[row.end() : at] != b",":
                break
        if not line:
            raise cut_off(self._path.name)
        raise self._refused("a row is not as the program writes it")

    def _other(self, line: bytes) -> None:
        text = line.strip()
        if not self._pending:
            if text.startswith(b"--") or not text:
                self._is_completed = line.startswith(COMPLETED) or (self._is_completed and not text)
                if match := _SERVER.match(line):
                    self.dump.version = match[1].decode("ascii", "replace")
                return
            self._is_completed = False
            if text.startswith(b"/*M!999999\\- "):
                return
            if text in (b"DELIMITER ;", b"DELIMITER ;;"):
                self._delimiter = text.rpartition(b" ")[2]
                return
        self._pending += line
        if len(self._pending) > _LONGEST:
            raise self._refused("a statement has no end")
        if not text.endswith(self._delimiter):
            return
        try:
            codec = "utf-8" if self._delimiter == b";" else _codec(self._settings.charset)
            statement = self._pending.rstrip()[: -len(self._delimiter)].strip().decode(codec)
        except (UnicodeDecodeError, LookupError):
            raise self._refused("a statement is in another encoding") from None
        if self._delimiter == b";" and not _WHOLE.fullmatch(statement):
            return  # the end of the line is within a text
        self._pending.clear()
        self._statement(statement)

    def _statement(self, text: str) -> None:
        if match := _SET.fullmatch(text):
            self._set(match[1])
        elif _IGNORED.fullmatch(text):
            pass
        elif _SEVERAL.match(text):
            raise several_databases(self._path.name)
        elif self._delimiter == b";":
            self._definition(text)
        else:
            self._program(text)

    def _set(self, text: str) -> None:
        if match := _NAMES.fullmatch(text):
            if match[1] not in _ENCODINGS:
                raise self._refused(f"it is in the character set {match[1]}, and not in utf8mb4")
        elif match := _SETTING.fullmatch(text):
            # What is set back to what it was before the program is as in the beginning again.
            field_name, value = _FIELDS.get(match[1].lower(), ""), match[2]
            if field_name:
                before = Settings()._asdict()[field_name]
                new = {field_name: before if value is None else value}
                self._settings = self._settings._replace(**new)
            if field_name == "time_zone" and value == "+00:00" and not self.dump.made:
                self.dump.is_of_utc = True
        elif "system_versioning_insert_history=1" in text:
            self.dump.has_history = True

    def _definition(self, text: str) -> None:
        if match := _TABLE.fullmatch(text):
            self._require_plain_table(text)
            self.dump.tables.add(match[1][1:-1].replace("``", "`"))
            self._make("table", text)
        elif _SEQUENCE.fullmatch(text):
            self._make("sequence", text)
        elif match := _COLUMNS_OF_VIEW.fullmatch(text):
            # It stands for the view in others, until that is made.
            self._make("view", match[1].replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
        elif match := _VIEW.fullmatch(text):
            parts = ("CREATE OR REPLACE", match[1], match[2], match[3], match[4] or "")
            self._make("view", " ".join(parts))
        else:
            raise self._unknown(text)

    def _program(self, text: str) -> None:
        if match := _TRIGGER.fullmatch(text):
            definer, name, when, table, body = match.groups()
            # The name of the database, which may be in front of both, is not taken over.
            self._make("trigger", f"CREATE {definer or ''} TRIGGER {name} {when} ON {table} {body}")
        elif match := _EVENT.fullmatch(text):
            self._make("event", f"CREATE {match[1] or ''} {match[2]}")
        elif _ROUTINE.fullmatch(text):
            self._make("routine", text)
        else:
            raise self._unknown(text)

    def _make(
        self,
        kind: Literal["table", "sequence", "view", "routine", "trigger", "event"],
        statement: str,
    ) -> None:
        self.dump.made.append(Made(kind, statement, self._settings))

    def _require_plain_table(self, text: str) -> None:
        bare = _QUOTED.sub(lambda match: "`x`" if match[1] else "''", text)
        if found := _NOT_IN_A_TABLE.search(bare):
            what = found[0].strip()
            raise self._refused(f"a table has what leads elsewhere, or is no part of one ({what})")
        for engine in _ENGINE.findall(bare):
            if engine.lower() not in _ENGINES:
                raise self._refused(f"a table is of the engine {engine}, whose rows are elsewhere")

    def _unknown(self, text: str) -> InvalidBackupError:
        words = re.match(r"[A-Za-z_]{1,20}(?: [A-Za-z_]{1,20})?", text.lstrip("/*!0123456789 "))
        return self._refused(f"a statement is unknown{f': {words[0]}' if words else ''}")

    def _refused(self, what: str) -> InvalidBackupError:
        return not_of_the_program(self._path.name, self._line, what)


def _codec(charset: str) -> str:
    """Return Python's name of a character set that a program's statement is written in."""
    from soulsense_db.drivers.mariadb.programs import CODECS

    return CODECS[charset]
