"""Load a backup into a schema: its tables and programs, for where they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from soulsense_db.drivers.mariadb import archive, inventory, obstacles, programs
from soulsense_db.drivers.mariadb.archive import Description, Section
from soulsense_db.drivers.mariadb.contents import NAME, name_of
from soulsense_db.drivers.mariadb.errors import refused_by_server
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.statements import quoted
from soulsense_db.drivers.mariadb.tools import Tools, series
from soulsense_db.drivers.server_errors import damaged_backup, newer_server

_TEXT = rb"'(?:[^'\\]|\\.|'')*'"
_USER = rb"`(?:[^`]|``)*`(?:@`(?:[^`]|``)*`)? "
_DEFINER_OF_VIEW = re.compile(
    rb"(?m)^/\*!50013 DEFINER=" + _USER + rb"SQL SECURITY (?:DEFINER|INVOKER) \*/$"
)
_DEFINER_OF_ROUTINE = re.compile(rb"(?m)^CREATE DEFINER=" + _USER)


def require_version(source: Path, description: Description, tools: Tools) -> None:
    """Raise for a backup of a newer server: its statements need not be known to an older one."""
    if series(description.version) > series(tools.version):
        raise newer_server(source.name, "MariaDB", description.version, tools.version)


def fill(
    source: Path,
    schema: str,
    *,
    target: str,
    login: Login,
    tools: Tools,
    name: str,
    has_definers: bool = False,
    poll: Callable[[], object] = lambda: None,
) -> Description:
    """Load all of a backup but its events into ``schema``, and count what came.

    ``target``: the schema that its tables are for; ``has_definers``: as of :func:`load_programs`.
    """
    described = archive.require_whole(source, poll=poll)
    require_version(source, described, tools)
    with login.connected(name=name) as connection:
        obstacles.require_packets(connection, described.longest_row, name=name)
    if "tables" in described.sections:
        with refused_by_server(source.name):
            part = statements_of(source, described, "tables", target)
            tools.load(login, schema, part, poll=poll)
    load_programs(
        source,
        described,
        schema,
        login=login,
        tools=tools,
        name=name,
        has_definers=has_definers,
        poll=poll,
    )
    with login.connected(name=name) as connection:
        programs.create_triggers(connection, described.triggers, schema)
        found = inventory.tables(connection, schema)
        numbers = inventory.counts(connection, schema, found)
    came = {one.name: number for one, number in zip(found, numbers, strict=True)}
    if came != dict(described.counts):
        raise damaged_backup(source.name, "other rows came back than were counted in it")
    return described


def load_programs(
    source: Path,
    described: Description,
    schema: str,
    *,
    login: Login,
    tools: Tools,
    name: str,
    has_definers: bool = False,
    poll: Callable[[], object],
) -> None:
    """Make routines and views in ``schema``: what the server refuses there, it would refuse live.

    Events would be run. ``has_definers``: what others made is theirs there, too. Beside the live
    database it is not, for they need rights on that one only.
    """
    with programs.default_kept(login, schema, name=name):
        for section in programs.SECTIONS:
            if section in described.sections and section != "events":
                with refused_by_server(source.name):
                    part = statements_of(
                        source, described, section, schema, has_definers=has_definers
                    )
                    tools.load(login, schema, part, poll=poll)


def statements_of(
    source: Path, described: Description, section: str, target: str, *, has_definers: bool = True
) -> Iterator[bytes]:
    """Yield a section for the schema ``target``, with its definers or without."""
    if section == "views":
        found = _views(source, described, target=target)
    else:
        found = statements(
            source,
            described.sections[section],
            dumped=described.schema,
            target=target,
            has_sequences=any(item.kind == "SEQUENCE" for item in described.items),
        )
    if section != "tables":
        found = _defaults_moved(found, described.schema, target)
    return found if has_definers else _without_definers(found)


def _defaults_moved(parts: Iterable[bytes], dumped: str, target: str) -> Iterator[bytes]:
    """Yield programs whose default character set is set in ``target``: the dump names its own.

    There is such a line before each program that was made when the schema had another one. What a
    program says itself is another kind of line: none of its lines ends with a delimiter apart.
    """
    text = b"".join(parts)
    name = re.escape(
        quoted(dumped).encode()
    )  # whose capitals the program writes as they were given
    line = re.compile(rb"(?m)^ALTER DATABASE (?i:" + name + rb")(?= CHARACTER SET \w+ .* ;+$)")
    after = b"ALTER DATABASE " + quoted(target).encode()
    yield line.sub(lambda _: after, text)


def statements(
    path: Path, section: Section, *, dumped: str, target: str, has_sequences: bool
) -> Iterator[bytes]:
    """Yield a section for the schema ``target``, of a dump of the schema ``dumped``.

    A column's default that is a sequence's next value names the schema, whatever is loaded where.
    """
    if dumped == target or not has_sequences:
        yield from archive.chunks(path, section)
        return
    before = f"nextval({quoted(dumped)}.".encode()
    after = f"nextval({quoted(target)}.".encode()
    part = bytearray()
    for line in archive.lines(path, section):
        part += line.replace(before, after) if line.startswith(b"  `") else line
        if len(part) > archive.CHUNK:
            yield bytes(part)
            part.clear()
    yield bytes(part)


def _views(path: Path, described: Description, *, target: str) -> Iterator[bytes]:
    """Yield the views for the schema ``target``.

    The server writes the schema's name before all names of a view that also reads another schema.
    """
    names = {table.name for table in described.tables} | {item.name for item in described.items}
    before, after = (f"{quoted(one)}.".encode() for one in (described.schema, target))
    qualified = re.compile(_TEXT + rb"|" + re.escape(before) + NAME, re.DOTALL)

    def moved(match: re.Match[bytes]) -> bytes:
        # It may also be a text, or a column of what a view calls as the schema is called.
        is_ours = match[1] is not None and name_of(match[1]) in names
        return after + match[0].removeprefix(before) if is_ours else match[0]

    for line in archive.lines(path, described.sections["views"]):
        yield qualified.sub(moved, line) if before != after else line


def _without_definers(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield views or routines that are of whoever makes them; a definition is never split."""
    text = b"".join(parts)
    yield _DEFINER_OF_ROUTINE.sub(b"CREATE ", _DEFINER_OF_VIEW.sub(b"", text))
