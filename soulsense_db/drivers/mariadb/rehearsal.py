"""MariaDB in a rehearsal: migrations run on a server of our own, which has nothing but a copy."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection

from soulsense_db.drivers.base import Driver
from soulsense_db.drivers.dump_changes import Side
from soulsense_db.drivers.dump_rows import DumpedTable
from soulsense_db.drivers.dump_values import Kind as ValueKind
from soulsense_db.drivers.leading import current
from soulsense_db.drivers.mariadb import archive, leading
from soulsense_db.drivers.mariadb.contents import Row, fields_of
from soulsense_db.drivers.mariadb.driver import MariaDBDriver
from soulsense_db.drivers.mariadb.private import PrivateDriver
from soulsense_db.drivers.mariadb.row_format import InsertFormat
from soulsense_db.drivers.mariadb.schema_reading import schema_in
from soulsense_db.drivers.mariadb.seen import broken_references, look, names_in
from soulsense_db.drivers.mariadb.server_tools import ServerTools
from soulsense_db.drivers.rehearsal import Led
from soulsense_db.drivers.results import Findings
from soulsense_db.drivers.server_rehearsal import Seen, ServerRehearsalSupport

# The first word of what takes no lock that others who write wait for.
_READS = re.compile(
    r"(?:\s|--[^\n]*\n|#[^\n]*\n|/\*.*?\*/)*"
    r"(?:SELECT\b(?!.*\bFOR\s+UPDATE\b)|SHOW|SET|EXPLAIN|DESCRIBE|DESC|ANALYZE\s+FORMAT|VALUES|USE"
    r"|BEGIN|START|SAVEPOINT|RELEASE|COMMIT|ROLLBACK|DO|HELP|HANDLER|UNLOCK|KILL"
    r"|WITH\b(?!.*\b(?:INSERT|UPDATE|DELETE|REPLACE)\b))\b",
    re.IGNORECASE | re.DOTALL,
)
_TABLE_EXISTS = re.compile(r"Table '(?:[^']*\.)?([^'.]+)' already exists")
_COLUMN_EXISTS = re.compile(r"Duplicate column name '([^']+)'")
_ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"))
_FORMAT = InsertFormat()
_NEVER = (b"'2038-01-19 03:14:07", b"'2106-02-07 06:28:15")  # when a row ends that is there


class _TabbedRow(NamedTuple):
    """A row whose values are apart by tabs, as rows are compared."""

    table: DumpedTable
    line: bytes
    key: bytes = b""


class MariaDBRehearsalSupport(ServerRehearsalSupport[archive.Description]):
    """MariaDB through the libraries that :mod:`.leading` knows."""

    def __init__(
        self, live: MariaDBDriver | None = None, server_tools: ServerTools | None = None
    ) -> None:
        super().__init__(live)
        self._server_tools = server_tools
        self._broken: dict[tuple[str, str], int] = {}  # when it was last looked
        self._broken_first: dict[tuple[str, str], int] | None = None
        self._broken_in: dict[object, dict[tuple[str, str], int]] = {}

    # In the process of the migrations

    def lead(
        self,
        led: Led,
        *,
        passed_by: Callable[[], object],
        refuse: Callable[[str], BaseException],
    ) -> None:
        """Change the libraries."""
        leading.lead(led, passed_by=passed_by, refuse=refuse)

    def make_read_only(self, connection: Connection) -> None:
        """Have the server refuse what writes."""
        driver = MariaDBDriver(connection.engine, lock_timeout=1.0)
        driver.make_read_only(connection.connection)

    def file_of(self, connection: Connection) -> Path | None:
        """Return the copy, where the connection is to its database."""
        led = current()
        name = leading.asked(connection.connection, "SELECT DATABASE()")
        is_led = led is not None and led.scratch.lower() == name.lower()
        return Path(led.copy) if led is not None and is_led else None

    def names_in(self, connection: Connection) -> list[str] | None:
        """Ask the server's own tables, which begins no transaction."""
        return names_in(connection)

    def already_there(self, message: str) -> str:
        """Know what the server says of tables and columns."""
        if found := _COLUMN_EXISTS.search(message):
            return f"column {found[1]}"
        found = _TABLE_EXISTS.search(message)
        return f"table {found[1]}" if found else ""

    def writes(self, statement: str) -> bool:
        """Tell by the first words; what is not known writes."""
        return _READS.match(statement) is None

    def is_in_transaction(self, connection: Any) -> bool:
        """Ask the library, which knows without a statement."""
        return leading.is_in_transaction(connection)

    # In ours

    def led(self, copy: Path) -> Led | None:
        """Tell of the private server as well."""
        led, private = super().led(copy), self._scratch[copy]
        assert led is not None
        assert isinstance(private, PrivateDriver)
        return replace(led, server=private.reached)

    def _new_scratch(self, copy: Path) -> Driver:
        live = self._live
        assert isinstance(live, MariaDBDriver)
        assert self._server_tools is not None
        return PrivateDriver(live, self._server_tools, copy)

    def _name_of(self, driver: Driver) -> str:
        assert isinstance(driver, MariaDBDriver)
        return driver._login().database

    def _look(self, scratch: Driver, since: int | None) -> Seen:
        del since
        assert isinstance(scratch, PrivateDriver)
        with scratch._connected() as connection:
            self._broken = broken_references(connection, scratch._name)
            return look(connection, scratch._name, name=scratch.database)

    def _make_like_live(self, scratch: Driver) -> None:
        """Do nothing: it was made so."""

    def _end_sessions(self, scratch: Driver) -> None:
        assert isinstance(scratch, PrivateDriver)
        scratch.end_sessions()

    def prepare(self, copy: Path, facts: Mapping[str, str]) -> None:
        """Note which references are broken at first."""
        super().prepare(copy, facts)
        if self._broken_first is None:
            self._broken_first = self._broken

    def settle(self, copy: Path) -> None:
        """Note which references are broken now."""
        super().settle(copy)
        self._broken_in[self._mark(copy)] = self._broken

    def check(
        self,
        copy: Path,
        *,
        without: Collection[str] = (),
        poll: Callable[[], object] | None = None,
    ) -> Findings:
        """Return the references that are broken, and were not at first.

        A session may switch off that the server looks at them.
        """
        del without, poll
        before, after = self._broken_first or {}, self._broken_in.get(self._mark(copy), {})
        more = {key: count - before.get(key, 0) for key, count in after.items()}
        new = {key: count for key, count in more.items() if count > 0}
        return Findings(
            warnings=tuple(
                f"{count} row(s) of table {table} refer to rows of {other} that do not exist"
                for (table, other), count in new.items()
            ),
            broken_references=sum(new.values()),
        )

    def _mark(self, path: Path) -> object:
        return self._live.describe(path).sha256

    def _side(self, path: Path) -> Side:
        """Have the rows as they are compared, without those that are history."""
        side, ends = super()._side(path), _ends(self._live.describe(path))
        return replace(side, rows=lambda: _tabbed(side, ends))


def _ends(described: archive.Description) -> dict[str, str]:
    """Return the column that says when a row ended, of each table that keeps such rows."""
    versioned = [item.name for item in described.items if item.kind == "SYSTEM VERSIONED"]
    declared = schema_in(described).tables if versioned else {}
    return {
        name: next(
            (
                column
                for column, one in declared[name].columns.items()
                if one.generated.startswith("ALWAYS AS ROW END")
            ),
            "row_end",
        )
        for name in versioned
    }


def _tabbed(side: Side, ends: Mapping[str, str]) -> Iterator[_TabbedRow]:
    for row in side.rows():
        assert isinstance(row, Row)
        table = row.table
        values = dict(zip(row.columns, fields_of(row.line), strict=True))
        end = values.get(ends.get(table.name, ""))
        if end is not None and not end.startswith(_NEVER):
            continue
        line = b"\t".join(
            _tabbed_value(values[column], side.kinds.get((table.name, column)) == "number")
            for column in table.columns
        )
        yield _TabbedRow(table, line)


def _tabbed_value(field: bytes, is_number: bool) -> bytes:
    if field == b"NULL":
        return b"\\N"
    if field.startswith(b"0x"):
        # A number of bits, or bytes.
        return str(int(field, 16)).encode() if is_number else b"\\\\x" + field[2:]
    if not field.startswith(b"'"):
        return field
    text = _FORMAT.value(field, ValueKind.BYTES)
    for one, escaped in _ESCAPES:
        text = text.replace(one, escaped)
    return bytes(text)
