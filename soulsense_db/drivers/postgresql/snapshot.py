"""Take a snapshot: all tables locked against another shape, one exported moment, one ``pg_dump``.

The lock comes before the moment: a table that is rewritten in between (``TRUNCATE``, some kinds of
``ALTER TABLE``) would be dumped empty, and ``pg_dump`` would end well (measured). It is the lock
that any reader takes, so that nobody who reads or writes waits for it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db import fs
from soulsense_db.drivers.postgresql import archive, inventory, parallel
from soulsense_db.drivers.postgresql.errors import code_of
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.properties import properties
from soulsense_db.drivers.postgresql.quick_checksum import quick_checksum
from soulsense_db.drivers.postgresql.standby import warn_if_behind
from soulsense_db.drivers.postgresql.statements import WITHOUT_KEPT, execute
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.drivers.server_errors import locked
from soulsense_db.drivers.server_programs import chunks_of
from soulsense_db.errors import DatabaseLockedError
from soulsense_db.notices import warn
from soulsense_db.progress import Progress

_UNDEFINED_TABLE = "42P01"
_WRONG_KIND = "42809"
_FORMAT = ("--compress=0", "--no-password", "--no-subscriptions")
_ATTEMPT_PAUSE_SECONDS = 0.02
_POLL_SECONDS = 0.1
_TOOL_WAIT_SECONDS = 0.3  # for a lock; then all are released, and taken again
MONEY = {"lc_monetary": "C"}
"""What amounts are written and read with, so that they are the same at both ends."""


class Moment(NamedTuple):
    """A moment that other connections can see: its name, and what is there then."""

    name: str
    connection: Connection
    tables: list[inventory.Found]


@contextmanager
def exported_moment(
    connection: Connection,
    *,
    name: str,
    lock_timeout: float,
    tables: Callable[[Connection], list[inventory.Found]] = inventory.tables,
) -> Iterator[Moment]:
    """Yield a moment in which no table can change its shape until the block ends.

    ``connection`` has no transaction; ``name`` is that of the database; ``tables`` finds them.
    """
    deadline = time.monotonic() + lock_timeout
    while True:
        found = tables(connection)
        connection.rollback()
        connection = connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        try:
            _lock(connection, found, deadline)
            exported = connection.scalar(sa.text("SELECT pg_export_snapshot()"))
            now = tables(connection)
        except DBAPIError as error:
            connection.rollback()
            if code_of(error) not in (_UNDEFINED_TABLE, _WRONG_KIND):
                raise
            now = None
        if now == found:
            yield Moment(str(exported), connection, found)
            connection.rollback()
            return
        connection.rollback()  # somebody made or dropped a table before the lock
        if time.monotonic() > deadline:
            raise locked(name, "its tables are created or changed all the time")
        time.sleep(_ATTEMPT_PAUSE_SECONDS)


class Live:
    """What of a database is dumped: all of it that is live."""

    switches: tuple[str, ...] = (WITHOUT_KEPT,)
    may_have_jobs = True

    def tables(self, connection: Connection) -> list[inventory.Found]:
        """Return the tables."""
        return inventory.tables(connection)

    def schemas(self, connection: Connection) -> tuple[str, ...]:
        """Return the names of the schemas, as they are in the archive."""
        return inventory.schemas(connection)

    def chunks(self, output: BufferedReader) -> Iterator[bytes | memoryview]:
        """Yield the archive, of what one ``pg_dump`` writes."""
        return chunks_of(output)

    def require_whole(self) -> None:
        """Raise where that was not whole, and ``pg_dump`` did not fail."""

    def own(self, name: str) -> str:
        """Return the name of a table or a schema as it is in the archive."""
        return name

    def now(self, name: str | None) -> str | None:
        """Return the name in the database of a table that is called so in the archive."""
        return name


LIVE = Live()


def _lock(connection: Connection, found: Sequence[inventory.Found], deadline: float) -> None:
    left = max(1, int(1000 * (deadline - time.monotonic())))
    execute(connection, f"SET LOCAL lock_timeout = {left}")
    if statement := inventory.lock(found, "ACCESS SHARE"):
        execute(connection, statement)


def write(
    login: Login,
    tools: Tools,
    target: Path,
    *,
    name: str,
    lock_timeout: float,
    version_table: str | None,
    part: Live = LIVE,
    progress: Progress | None,
) -> SnapshotInfo:
    """Write all that is committed to the existing empty file ``target``.

    ``version_table``: Alembic's, as the application's statements find it.
    """
    deadline = time.monotonic() + lock_timeout
    jobs = tools.jobs if part.may_have_jobs else 1
    while True:
        try:
            return _write_once(
                login,
                replace(tools, jobs=jobs),
                target,
                name=name,
                lock_timeout=max(_ATTEMPT_PAUSE_SECONDS, deadline - time.monotonic()),
                version_table=version_table,
                part=part,
                progress=progress,
            )
        except DatabaseLockedError as error:
            # Who wants to change a table waits for our lock, and pg_dump waits for him: let him in.
            if jobs > 1:
                # Of several jobs none waits at all, an hour after the beginning or at once.
                warn(
                    f"One job of pg_dump backs {name} up, and not {jobs}: somebody wanted to "
                    "change a table meanwhile."
                )
                jobs, deadline = 1, time.monotonic() + lock_timeout
            if time.monotonic() > deadline:
                raise locked(name, "somebody changes its tables") from error


def _write_once(
    login: Login,
    tools: Tools,
    target: Path,
    *,
    name: str,
    lock_timeout: float,
    version_table: str | None,
    part: Live,
    progress: Progress | None,
) -> SnapshotInfo:
    with (
        login.connected(name=name, autocommit=False) as connection,
        exported_moment(
            connection, name=name, lock_timeout=lock_timeout, tables=part.tables
        ) as moment,
    ):
        warn_if_behind(moment.connection, name)
        # It waits for who changes any table: of what is kept, none of those is locked.
        is_asked = progress is not None or tools.jobs > 1
        estimate = inventory.size(moment.connection) if is_asked else 0
        largest = inventory.largest(moment.connection) if tools.jobs > 1 else 0
        made = properties(moment.connection, login.database)
        assert made is not None  # we are connected to it
        has_money = inventory.has_money(moment.connection)
        patience = min(lock_timeout, _TOOL_WAIT_SECONDS)
        arguments = (
            *_FORMAT,
            # Not that of the role or the database, which may not have all of its characters.
            f"--encoding={made.locale.encoding}",
            f"--snapshot={moment.name}",
            f"--lock-wait-timeout={max(1, int(patience * 1000))}",
            *part.switches,
        )
        settings = inventory.adverse_to_dump(moment.connection) | (MONEY if has_money else {})
        environment = login.environment(settings=settings)
        done = staged = 0
        written = quick_checksum()

        def told(new: int = 0) -> None:
            nonlocal staged
            staged += new
            if progress is not None:
                # Of several jobs all is written twice.
                shown = done if tools.jobs == 1 else (staged + done) // 2
                progress(shown, max(shown + 1, estimate))

        with fs.storage_errors("write", target), target.open("r+b") as stream:
            stream.truncate()
            with parallel.dumped(
                tools,
                arguments,
                environment,
                target,
                jobs=tools.jobs,
                sizes=(estimate, largest),
                poll=told,
                read=part.chunks,
            ) as chunks:
                for chunk in chunks:  # nothing slow here: pg_dump waits for us
                    stream.write(chunk)
                    written.update(chunk)
                    done += len(chunk)
                    told()
            part.require_whole()
            stream.flush()
            # Now that the server has nothing else to do; both take about as long.
            with _counted_meanwhile(moment) as counting:
                digest, read = _digest_of(stream, target, told)
                if (read, stream.tell()) != (written.digest(), done):
                    raise fs.other_bytes_read(target)
                while not counting.done():
                    told()
                    wait([counting], timeout=_POLL_SECONDS)
            description = archive.Description(
                size_bytes=done,
                sha256=digest.hexdigest(),
                version=inventory.version(connection),
                locale=made.locale,
                schemas=part.schemas(connection),
                tables=_described(moment, counting.result(), part),
                heads=inventory.heads_in(connection, part.now(version_table)),
                version_table=version_table,
                has_money=has_money,
            )
            ending = archive.ending(description)
            stream.write(ending)
            stream.seek(done)
            if stream.read() != ending:
                raise fs.other_bytes_read(target)
            digest.update(ending)
            size = stream.tell()
    if progress is not None:
        progress(size, size)
    return info_of(description, size, sha256=digest.hexdigest())


def _digest_of(
    stream: BufferedIOBase, path: Path, poll: Callable[[], object]
) -> tuple[hashlib._Hash, bytes]:
    """Read a file from its beginning to its end; return its digest, and its quick checksum."""
    digest, check = hashlib.sha256(), quick_checksum()
    with fs.storage_errors("read", path):
        stream.seek(0)
        for chunk in chunks_of(stream):
            digest.update(chunk)
            check.update(chunk)
            poll()
    return digest, check.digest()


@contextmanager
def _counted_meanwhile(moment: Moment) -> Iterator[Future[list[int]]]:
    """Count the rows of all tables while the block runs; its connection is in use until then."""
    raw: Any = moment.connection.connection.driver_connection
    with ThreadPoolExecutor(1, thread_name_prefix="soulsense_db-count") as executor:
        counting = executor.submit(inventory.counts, moment.connection, moment.tables)
        try:
            yield counting
        except BaseException:
            with suppress(Exception):  # it has ended, or the server is gone
                raw.cancel()
            raise


def _described(moment: Moment, rows: Sequence[int], part: Live) -> tuple[archive.Table, ...]:
    return tuple(
        archive.Table(
            schema=part.own(one.schema),
            name=one.name,
            copied=part.own(one.copied),
            columns=one.columns,
            key=one.key,
            rows=number,
        )
        for one, number in zip(moment.tables, rows, strict=True)
        if one.has_rows
    )


def info_of(
    description: archive.Description, size_bytes: int, *, sha256: str | None = None
) -> SnapshotInfo:
    """Return what a driver tells of a backup file of this size; ``sha256``: as it was read."""
    facts = {"server_version": str(description.version), "encoding": description.locale.encoding}
    return SnapshotInfo(
        size_bytes=size_bytes,
        alembic_heads=description.heads,
        facts=facts,
        sha256=sha256,
        was_read=sha256 is not None,
    )
