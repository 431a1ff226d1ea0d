"""What errors of a PostgreSQL server, and backups of one, mean, as errors of the tree.

No row is quoted: of a server's error its first line is shown, without what it quotes at its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
)

from soulsense_db.drivers.postgresql.missing_rights import no_right
from soulsense_db.drivers.server_errors import (
    damaged,
    disk_full,
    locked,
    no_database,
    unreachable,
)
from soulsense_db.errors import (
    BackupError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
    DatabaseUnreachableError,
    InvalidBackupError,
    MissingExtraError,
    MissingRightError,
    Remedy,
    TruncatedBackupError,
    UnsupportedDatabaseError,
)

_MOST_NAMES = 3
NO_DATABASE = "3D000"
NO_RIGHT = "42501"
LOCK_NOT_AVAILABLE = "55P03"
CONCURRENTLY_UPDATED = "XX000"
"""An internal error: what others see where two sessions change an object at the same time."""
NO_LOCK = (LOCK_NOT_AVAILABLE, "55006", "57014", "40P01")
"""Of a lock, or another object in use, that was waited for in vain."""
TOO_FEW_LOCKS, DISK_FULL, CONNECTION_LOST = "53200", "53100", ("08", "57P", "25P03")
NOT_ACCEPTING = "55000"
"""``object_not_in_prerequisite_state``: a database that admits no connections, for one."""

# What a message quotes may be a value: after a colon, as "invalid input syntax for type x: "y"".
_QUOTED_VALUE = re.compile(r":\s*\".*", re.DOTALL)
# libpq repeats what it connected to; only what went wrong is of interest.
_LIBPQ_PREFIX = re.compile(r"^connection (to server .*?|failed:.*?) failed:\s*")
CONNECTIONS_USED_UP = ("too many connections", "remaining connection slots")
_GUESSES = {
    **dict.fromkeys(CONNECTIONS_USED_UP, "53300"),
    "permission denied for database": NO_RIGHT,
    "password": "28000",
    "authentication": "28000",
    "role": "28000",
    "pg_hba": "28000",
    "not currently accepting connections": NOT_ACCEPTING,
    "CONTEXT:": "28000",  # a function ran, and raised an error: that of a login trigger
}


@contextmanager
def live_errors(name: str) -> Iterator[None]:
    """Turn errors of the server, in the block, into errors of the tree about the database."""
    try:
        yield
    except DBAPIError as error:
        raise _of_code(code_or_guess(error), name, reason_of(error)) from error
    except PendingRollbackError as error:  # the connection broke before
        raise unreachable(name, "the connection is gone") from error


def no_encoding(name: str) -> UnsupportedDatabaseError:
    """Return the error for a database without an encoding, whose texts come as bytes."""
    return UnsupportedDatabaseError(
        f"SQLAlchemy cannot connect to {name} by psycopg: its encoding is SQL_ASCII.",
        hint="Add client_encoding=utf8 to the URL, in your application as well.",
    )


def code_of(error: BaseException) -> str:
    """Return the five characters that name an error of the server; empty without any."""
    original = error.orig if isinstance(error, DBAPIError) else error
    found = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return str(found or "")


def reason_of(error: BaseException) -> str:
    """Return what the server said, without any value of a row."""
    original = error.orig if isinstance(error, DBAPIError) else error
    diagnosis = getattr(original, "diag", None)
    text = getattr(diagnosis, "message_primary", None) or str(original)
    return without_values(text)


def without_values(text: str) -> str:
    """Return the first line of a message, without what it quotes after a colon."""
    lines = text.strip().splitlines() or [""]
    line = _LIBPQ_PREFIX.sub("", lines[0].strip())
    line = line.removeprefix("FATAL:").removeprefix("ERROR:").strip()
    return _QUOTED_VALUE.sub("", line).rstrip(" .")


def code_or_guess(error: DBAPIError) -> str:
    """Return the code; for a connection that was refused, of which there may be none, a guess."""
    if code := code_of(error):
        return code
    text = str(error.orig)
    # The server's messages are translated where lc_messages says so: then it is only unreachable.
    if "does not exist" in text and "database" in text:
        return NO_DATABASE
    for words, code in _GUESSES.items():
        if words in text:
            return code
    if isinstance(error, (OperationalError, InterfaceError)) or error.connection_invalidated:
        return "08000"
    return ""


def _of_code(code: str, name: str, reason: str) -> BackupError:
    for beginnings, make in _MEANINGS:
        if code.startswith(beginnings):
            return make(name, reason)
    if code == NOT_ACCEPTING and "accepting" in reason:
        return not_accepting(name, reason)
    return BackupError(
        f"PostgreSQL refused an operation on {name} ({reason}).",
        hint="The server's log tells more.",
        reason=reason,
    )


def login_refused(name: str, reason: str) -> DatabaseUnreachableError:
    """Return the error for a user, or a password, that the server does not take."""
    return DatabaseUnreachableError(
        f"The server refused the login to {name} ({reason}).",
        hint="Check user, password and host in the URL, and the server's pg_hba.conf and login "
        "triggers.",
        reason=reason,
    )


def no_maintenance(name: str, refused: Mapping[str, BackupError]) -> BackupError:
    """Return the error for databases of which one is needed beside the live one.

    ``refused``: why each of them could not be used.
    """
    # One that is not there an administrator has dropped: then the other one is what is meant.
    there = {
        database: error
        for database, error in refused.items()
        if not isinstance(error, DatabaseFileNotFoundError)
    }
    database, error = next(iter((there or refused).items()))
    if "refused the login" in error.what:
        server, mark, _ = name.rpartition("/")
        error = login_refused(f"{server}{mark}{database}", error.reason)
    elif not isinstance(error, MissingRightError):
        return error
    error.remedy = Remedy(
        f"{error.hint} Restores, drills and migrations also log in to the database "
        f"{' or '.join(refused)}: let the user do that, in pg_hba.conf and in ~/.pgpass, where * "
        "stands for any database."
    )
    return error


def not_accepting(name: str, reason: str) -> DatabaseLockedError:
    """Return the error for a database that admits no connections."""
    return DatabaseLockedError(
        f"Database locked: {name} ({reason}).",
        hint="It refuses them itself: ALTER DATABASE ... ALLOW_CONNECTIONS true admits them again.",
        reason=reason,
    )


def pooled(name: str) -> DatabaseUnreachableError:
    """Return the error for a pooler that lends its connections to transactions."""
    return DatabaseUnreachableError(
        f"Between this program and the server of {name} is a pooler that lends connections to "
        "transactions, as pgbouncer does with pool_mode = transaction: neither pg_dump nor a "
        "restore can work through it.",
        hint="Use the server's own host and port in the URL, or a pool with pool_mode = session.",
    )


def no_library() -> MissingExtraError:
    """Return the error for an async engine without a library that waits."""
    return MissingExtraError(
        "Backups of PostgreSQL need psycopg or psycopg2, also beside an async engine.",
        hint='Install it: python3 -m pip install "soulsense-db[postgresql]"',
    )


def no_connection_left(name: str, reason: str) -> DatabaseUnreachableError:
    """Return the error for a server, a database or a role that has no more connections."""
    return DatabaseUnreachableError(
        f"The server of {name} takes no more connections ({reason}).",
        hint="A backup needs up to 5, a restore about 10. Raise max_connections, or the CONNECTION "
        "LIMIT of the database or of the user, or close some.",
        reason=reason,
    )


def too_few_locks(name: str, reason: str) -> BackupError:
    """Return the error for a server that has no room for the locks of one transaction."""
    return BackupError(
        f"The server has no room for the locks of an operation on {name} ({reason}).",
        hint="It takes one for each table, index, constraint and column default. As an "
        "administrator, raise max_locks_per_transaction, and restart the server.",
        reason=reason,
    )


# Codes of https://www.postgresql.org/docs/current/errcodes-appendix.html, or how they begin.
_MEANINGS: tuple[tuple[tuple[str, ...], Callable[[str, str], BackupError]], ...] = (
    ((NO_DATABASE,), no_database),
    (("28",), login_refused),
    ((NO_RIGHT,), no_right),
    (NO_LOCK, locked),
    ((DISK_FULL,), disk_full),
    ((TOO_FEW_LOCKS,), too_few_locks),
    (("XX001", "XX002"), damaged),
    (("53300",), no_connection_left),
    (CONNECTION_LOST, unreachable),
)


def kept_for_another(name: str, owner: str, beginning: str) -> UnsupportedDatabaseError:
    """Return the error for a database with schemas of which a restore of ``owner`` has no copy yet.

    ``beginning``: of their names.
    """
    reason = f"it has what a restore by {owner} replaced, and no backup has that yet"
    return UnsupportedDatabaseError(
        f"{name} cannot be replaced ({reason}).",
        hint=f"As {owner}, run soulsense-db undo, or a restore: both finish that first. Where the "
        f"data is not needed, drop the schemas whose names begin with {beginning}.",
        reason=reason,
    )


def kept_in_part(name: str, gone: Sequence[str], left: Sequence[str]) -> UnsupportedDatabaseError:
    """Return the error for what a restore replaced, of which somebody has dropped some schemas.

    ``gone``: their own names; ``left``: the names of all schemas that are kept.
    """
    statement = f"DROP SCHEMA {', '.join(left)} CASCADE;"
    reason = f"of what a restore replaced, somebody has dropped schema {', '.join(gone)}"
    return UnsupportedDatabaseError(
        f"There can be no backup of what is kept in {name} ({reason}). To do without the rest: "
        f"{statement}",
        hint=f"Save what you need of the rest, execute this, and try again: {statement}",
        reason=reason,
        candidates=left,
    )


def made_meanwhile(name: str, routines: Sequence[str]) -> UnsupportedDatabaseError:
    """Return the error for functions made while a restore took the place of their schema.

    They are in what was replaced, and lead to what was restored. ``routines``: what moves each.
    """
    statements = " ".join(f"{one};" for one in routines)
    reason = "somebody made a function when its schema was replaced"
    return UnsupportedDatabaseError(
        f"There can be no backup of what is kept in {name} ({reason}). To keep it: {statements}",
        hint=f"Execute this, or drop it with DROP ROUTINE, and try again: {statements}",
        reason=reason,
        candidates=routines,
    )


def others_depend_on(name: str, what: Sequence[str]) -> DatabaseLockedError:
    """Return the error for a restore that would take a column, or all, of what is not restored.

    Names as in statements: mostly temporary tables of other sessions.
    """
    more = f", and {len(what) - _MOST_NAMES} more" if len(what) > _MOST_NAMES else ""
    reason = f"others have made of its tables or types: {', '.join(what[:_MOST_NAMES])}{more}"
    return DatabaseLockedError(
        f"Database locked: {name} ({reason}).",
        hint="A temporary table goes when its session ends. Drop what else it is, and try again.",
        reason=reason,
        candidates=what,
    )


def tied_to(name: str, what: str, names: Sequence[str], statement: str) -> UnsupportedDatabaseError:
    """Return the error for a database that cannot be replaced because of something tied to it.

    Unlike a lock, that does not pass by itself.
    """
    shown = ", ".join(names)
    return UnsupportedDatabaseError(
        f"{name} cannot be replaced ({what} belongs to it: {shown}).",
        hint=f"A restored database cannot take it over. End it first ({statement}), and make it "
        "anew afterwards.",
        reason=f"{what} belongs to it",
        candidates=names,
    )


# Backup files


def cut_off(name: str) -> TruncatedBackupError:
    """Return the error for an archive that has not its end, or never had ours."""
    return TruncatedBackupError(
        f"Invalid backup file: {name} lacks its end, or another program made it.",
        hint="Use another backup. What pg_dump alone wrote becomes a backup when it is imported.",
    )


def not_restored(name: str, reason: str) -> InvalidBackupError:
    """Return the error for an archive of pg_dump's own that no database could be made of."""
    return InvalidBackupError(
        f"Invalid backup file: {name} cannot be restored ({reason}).",
        hint="It is cut off or damaged, or of a newer version. Or it needs what the server lacks: "
        "roles, extensions and tablespaces are not in it.",
        reason=reason,
    )


def no_foreign_money(name: str) -> InvalidBackupError:
    """Return the error for an archive whose amounts may be read as others than were written."""
    return InvalidBackupError(
        f"{name} has columns of type money, and does not tell with which lc_monetary they were "
        "written.",
        hint="Restore it with pg_restore to a database with that setting, and back that one up.",
    )


def missing_parts(names: Sequence[str]) -> str:
    """Return in words which parts of its schema a restored database lacks."""
    more = len(names) - _MOST_NAMES
    shown = ", ".join(names[:_MOST_NAMES])
    return f"it lacks {shown}" + (f" and {more} more" if more > 0 else "")
