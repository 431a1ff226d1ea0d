"""What a restore within the database replaced: schemas of other names, until there is a copy.

So writers wait for the moment in which names change, and not for the safety backup, which is
written of these schemas once the live ones are in use again. The comment of one more schema, which
is empty, says what the copy will be for, and how they were called: it is there from the commit of
the restore on, and goes with them.

The backup must be what it would be of the live schemas. So only those are kept of which ``pg_dump``
writes the same under both names, but for the name (:func:`may_be_kept`): for others, writers wait.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql import inventory, snapshot
from soulsense_db.drivers.postgresql.databases import in_transaction
from soulsense_db.drivers.postgresql.errors import live_errors
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.renaming import Names, renamed
from soulsense_db.drivers.postgresql.statements import KEPT, OF_USERS
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.drivers.server_errors import replaced_is_gone
from soulsense_db.errors import DatabaseFileNotFoundError
from soulsense_db.notices import cleaning_up

_TOKEN_BYTES = 8
_DROP_WAIT_MS = 2000
_NOTE = re.compile(rf"{KEPT}[0-9a-f]{{{2 * _TOKEN_BYTES}}}")
# What is usual of ``public`` pg_dump does not write: a schema of another name has it as any other.
# Its comment it writes also where there is none. (``getNamespaces`` in PostgreSQL's pg_dump.c.)
_IS_USUAL = """(obj_description(n.oid, 'pg_namespace') IS NOT NULL
    AND (SELECT count(*) = 3 AND bool_and(a.grantor = n.nspowner AND NOT a.is_grantable AND (
        (a.grantee = n.nspowner AND a.privilege_type IN ('CREATE', 'USAGE'))
        OR (a.grantee = 0 AND a.privilege_type = 'USAGE')))
        FROM aclexplode(n.nspacl) AS a))"""
_MAY_BE_KEPT = sa.text(
    "SELECT bool_and(quote_ident(n.nspname) = n.nspname"  # noqa: S608 - a constant
    f" AND (n.nspname <> 'public' OR {_IS_USUAL})) FROM pg_namespace n WHERE {OF_USERS}"
)
# Of somebody else it is not believed: whoever may make a schema could say so.
_NOTES = sa.text(
    "SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace"  # noqa: S608
    f" WHERE left(nspname, {len(KEPT)}) = '{KEPT}' AND pg_has_role(nspowner, 'USAGE')"
    " ORDER BY oid"
)


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """What the comment says; ``own``: the names that the schemas had, by those that they have.

    ``version_table`` is Alembic's, as the application's statements found it; ``purpose``: what the
    copy will be for, empty as soon as there is one.
    """

    purpose: str
    version_table: str | None
    own: dict[str, str]


def may_be_kept(connection: Connection) -> bool:
    """Whether the live schemas are such that they may be kept; they are not where there is none."""
    return bool(connection.scalar(_MAY_BE_KEPT))


def is_usual(schema: str) -> str:
    """Return the query that tells whether ``schema`` has what is usual of ``public``."""
    return f"SELECT {_IS_USUAL} FROM pg_namespace n WHERE n.nspname = '{schema}'"  # noqa: S608


class _Kept(snapshot.Live):
    """The schemas that were kept, of which ``own`` has the names that they had."""

    may_have_jobs = False

    def __init__(self, own: Mapping[str, str], *, name: str) -> None:
        self._own, self._name = own, name
        self._names = Names(own)
        self.switches = tuple(f"--schema={one}" for one in own)

    def tables(self, connection: Connection) -> list[inventory.Found]:
        return inventory.tables_in(connection, self._own)

    def schemas(self, connection: Connection) -> tuple[str, ...]:
        del connection
        return tuple(sorted(self._own.values()))

    def chunks(self, output: BufferedReader) -> Iterator[bytes]:
        return renamed(output, self._names, name=self._name)

    def own(self, name: str) -> str:
        return self._names.in_text(name)

    def now(self, name: str | None) -> str | None:
        schema, dot, table = (name or "").partition(".")
        now = next((one for one, own in self._own.items() if own == schema), None)
        return None if now is None else f"{now}{dot}{table}"


def new_name() -> str:
    """Return how the names begin that the schemas get in one restore."""
    return f"{KEPT}{secrets.token_hex(_TOKEN_BYTES)}"


def name_of(beginning: str, number: int) -> str:
    """Return the name of one of them: all are equally long, and none begins as another one does."""
    return f"{beginning}_{number:04}"


def keeping(
    beginning: str, own: Mapping[str, str], *, purpose: str, version_table: str | None
) -> tuple[str, str]:
    """Return the statements that note what is kept; ``own``: the names that they had."""
    note = _Note(purpose=purpose, version_table=version_table, own=dict(own))
    return f"CREATE SCHEMA {beginning}", _comment(beginning, note)


def _comment(name: str, note: _Note) -> str:
    # The database may have an encoding in which a path cannot be written; nothing in dollars ends
    # a text, whatever the session's settings are.
    text = json.dumps(msgspec.to_builtins(note))
    return f"COMMENT ON SCHEMA {name} IS ${name}${text}${name}$"


def _notes(connection: Connection) -> list[tuple[str, _Note]]:
    found = []
    for name, said in connection.execute(_NOTES):
        if said is not None and _NOTE.fullmatch(name):
            try:
                found.append((str(name), msgspec.json.decode(said, type=_Note)))
            except msgspec.MsgspecError:
                continue  # no note of ours
    return found


def _without_copy(connection: Connection) -> tuple[str, _Note] | None:
    return next((one for one in _notes(connection) if one[1].purpose), None)


def without_copy(login: Login, *, name: str) -> str | None:
    """Return what the copy will be for of kept schemas of which there is no file yet."""
    try:
        with login.connected(name=name) as connection:
            found = _without_copy(connection)
    except DatabaseFileNotFoundError:
        return None
    return None if found is None else found[1].purpose


def write_copy(
    login: Login, tools: Tools, target: Path, *, name: str, lock_timeout: float
) -> SnapshotInfo:
    """Write what the last restore replaced to the existing empty file ``target``."""
    with login.connected(name=name) as connection:
        found = _without_copy(connection)
    if found is None:
        raise replaced_is_gone(name)
    note = found[1]
    with live_errors(name):
        return snapshot.write(
            login,
            tools,
            target,
            name=name,
            lock_timeout=lock_timeout,
            version_table=note.version_table,
            part=_Kept(note.own, name=name),
            progress=None,
        )


def forget(login: Login, *, name: str) -> None:
    """Note that there is a copy, and drop what was copied."""
    with login.connected(name=name) as connection:
        found = _without_copy(connection)
        if found is None:
            raise replaced_is_gone(name)
        beginning, note = found
        copied = _Note(purpose="", version_table=None, own=note.own)
        in_transaction(connection, _comment(beginning, copied), name=name)
        tidy_up(connection, name=name)


def tidy_up(connection: Connection, *, name: str) -> None:
    """Drop the schemas of which there is a copy.

    Somebody may be reading them, as a program does that dumps all that it finds: then they go with
    the next restore.
    """
    for beginning, note in _notes(connection):
        if note.purpose:
            continue
        with cleaning_up(f"The schemas {beginning}_... could not be dropped"), live_errors(name):
            in_transaction(
                connection,
                f"SET LOCAL lock_timeout = {_DROP_WAIT_MS}",
                f"DROP SCHEMA IF EXISTS {', '.join((*note.own, beginning))} CASCADE",
                name=name,
            )
