"""What errors of MariaDB and of its programs mean, as errors of the tree.

No row is quoted: of what a server says, everything in quotation marks is left out, unless it is
known to be a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, PendingRollbackError

from soulsense_db.drivers.server_errors import (
    damaged,
    disk_full,
    locked,
    missing_right,
    no_database,
    unreachable,
)
from soulsense_db.errors import (
    BackupError,
    DatabaseLockedError,
    DatabaseUnreachableError,
    InvalidBackupError,
    MissingExtraError,
    MissingRightError,
    ServerToolError,
    TruncatedBackupError,
    UnsupportedDatabaseError,
)

LOCK_TIMEOUT = 1205
"""``ER_LOCK_WAIT_TIMEOUT``."""

# Codes of https://mariadb.com/kb/en/mariadb-error-codes/ whose messages quote names alone.
_NAMES_ALONE = frozenset(
    {1044, 1045, 1049, 1050, 1051, 1054, 1114, 1142, 1143, 1146, 1153, 1227, 1290, 1305, 1370, 1698}
    | {2002, 2003, 2005, 2026, 4161}
)
_OF_A_PROGRAM = re.compile(
    r"^(?:ERROR (?P<client>\d+) .*?: |mariadb-dump: Got error: (?P<dump>\d+): |"
    r"(?:mariadb|mariadb-dump): )(?P<text>.*)$"
)
# As the server knows it: a host may be a pattern.
_ACCOUNT = re.compile(r"for user '([^'`]*)'@'([^'`]*)' to database")
_CODE_AT_END = re.compile(r"\((\d{4})\)$")


@contextmanager
def live_errors(name: str) -> Iterator[None]:
    """Turn errors of the server, in the block, into errors of the tree about the database."""
    try:
        yield
    except DBAPIError as error:
        raise of_code(code_of(error), name, reason_of(error)) from error
    except PendingRollbackError as error:  # whatever comes after the connection broke
        raise unreachable(name, "the connection is broken") from error


def code_of(error: BaseException) -> int:
    """Return the number of an error of the server or of a library; 0 without any."""
    original = error.orig if isinstance(error, DBAPIError) else error
    found = getattr(original, "errno", None)
    if not isinstance(found, int):
        found = next(iter(getattr(original, "args", ())), None)
    return found if isinstance(found, int) and found > 0 else 0


def reason_of(error: BaseException) -> str:
    """Return what the server said, without any value of a row."""
    original = error.orig if isinstance(error, DBAPIError) else error
    arguments = getattr(original, "args", ())
    text = getattr(original, "msg", None) or (arguments[-1] if arguments else original)
    return without_values(str(text), code_of(error))


def without_values(text: str, code: int) -> str:
    """Return the first line of a message, without what may be a value."""
    if code not in _NAMES_ALONE:
        text = re.sub(r"'.*'|\".*\"", "'…'", text, flags=re.DOTALL)
    lines = text.strip().splitlines() or [""]
    return lines[0].strip().rstrip(" .")


def of_code(code: int, name: str, reason: str) -> BackupError:
    """Return the error of the tree for one of the server."""
    for codes, make in _MEANINGS:
        if code in codes:
            return make(name, reason)
    return BackupError(
        f"MariaDB refused an operation on {name} ({reason}).",
        hint="The server's log tells more.",
        reason=reason,
    )


def login_refused(name: str, reason: str) -> DatabaseUnreachableError:
    """Return the error for a user, or a password, that the server does not take."""
    return DatabaseUnreachableError(
        f"The server refused the login to {name} ({reason}).",
        hint="Check user, password and host in the URL, and the server's table mysql.user.",
        reason=reason,
    )


def no_socket(name: str, socket: str, reason: str) -> DatabaseUnreachableError:
    """Return the error for a Unix socket at which no server answers."""
    return DatabaseUnreachableError(
        f"The server of {name} does not answer at the socket {socket} ({reason}).",
        hint="Check that it runs, and unix_socket in the URL: SELECT @@socket; shows where it is.",
        reason=reason,
    )


def no_access(name: str, reason: str) -> MissingRightError:
    """Return the error for a database that the user may not use, if it is there at all."""
    if "~soulsense" in reason:  # one of ours, which a restore or a drill would make
        account = _ACCOUNT.search(reason)
        user = "@".join(f"`{part}`" for part in account.groups()) if account else "..."
        statement = rf"GRANT ALL ON `~soulsense\_%`.* TO {user};"
        return missing_right(name, reason, statement=statement)
    return MissingRightError(
        f"A right is missing on {name} ({reason}).",
        hint="Check the name of the database, for the server does not tell whether it exists, and "
        "the rights: the guide's page about MariaDB lists what each operation needs.",
        reason=reason,
    )


def no_connection_left(name: str, reason: str) -> DatabaseUnreachableError:
    """Return the error for a server, or a user, that has no more connections."""
    return DatabaseUnreachableError(
        f"The server of {name} takes no more connections ({reason}).",
        hint="A backup needs up to 5, a restore about 15. Raise max_connections, or the user's "
        "MAX_USER_CONNECTIONS, or close some.",
        reason=reason,
    )


def packet_too_large(name: str, reason: str) -> BackupError:
    """Return the error for a statement that is longer than the server takes."""
    return BackupError(
        f"MariaDB refused a statement for {name} that is too long ({reason}).",
        hint="Raise max_allowed_packet on the server: 16 MB at least, and more than its largest "
        "row.",
        reason=reason,
    )


def read_only(name: str, reason: str) -> DatabaseLockedError:
    """Return the error for a server that refuses what writes."""
    return DatabaseLockedError(
        f"The server of {name} only reads ({reason}).",
        hint="Restore on the primary, or let an administrator end it: SET GLOBAL read_only = 0;",
        reason=reason,
    )


def lease_lost(name: str) -> DatabaseLockedError:
    """Return the error for a lock of this program's that it does not hold any more."""
    return locked(
        name,
        "the cluster has not heard of this program for so long that its lock has ended, and "
        "another one may have begun",
    )


def view_broken(name: str, views: Sequence[str]) -> UnsupportedDatabaseError:
    """Return the error for views that the server itself cannot read."""
    return UnsupportedDatabaseError(
        f"A view of {name} cannot be dumped ({', '.join(views)}): a table, a column, a function or "
        "its definer is not there any more.",
        hint="Drop the view, or make it anew.",
        candidates=views,
    )


def event_not_dumped(name: str, event: str) -> UnsupportedDatabaseError:
    """Return the error for an event with which ``mariadb-dump`` would never end."""
    return UnsupportedDatabaseError(
        f'The event {event} of {name} has ";;" in its text, with which mariadb-dump never ends.',
        hint="Change its text with ALTER EVENT, or drop it.",
        candidates=[event],
    )


def name_not_dumped(name: str, table: str) -> UnsupportedDatabaseError:
    """Return the error for a table whose name is not on one line of a dump."""
    return UnsupportedDatabaseError(
        f"The table {table!r} of {name} has a line feed in its name, and cannot be backed up.",
        hint="Give it another name with RENAME TABLE.",
        candidates=[table],
    )


def column_not_dumped(name: str, table: str, column: str) -> UnsupportedDatabaseError:
    """Return the error for a column whose name is not on one line of a dump."""
    return UnsupportedDatabaseError(
        f"The column {column!r} of table {table!r} of {name} has a line feed in its name, and "
        "cannot be backed up.",
        hint="Give it another name with ALTER TABLE ... CHANGE COLUMN.",
        candidates=[f"{table}.{column}"],
    )


def no_library() -> MissingExtraError:
    """Return the error for an async engine without a library that waits."""
    return MissingExtraError(
        "Backups of MariaDB need PyMySQL or mysqlclient, also beside an async engine.",
        hint='Install it: python3 -m pip install "soulsense-db[mariadb]"',
    )


def unknown_login(library: str) -> UnsupportedDatabaseError:
    """Return the error for a creator of the application's whose connections tell no password."""
    return UnsupportedDatabaseError(
        f"The engine has a creator of its own, and {library} does not tell what it connects with: "
        "mariadb-dump cannot log in.",
        hint="Make the engine from a URL, with a listener of do_connect for passwords that change.",
    )


_MEANINGS: tuple[tuple[tuple[int, ...], Callable[[str, str], BackupError]], ...] = (
    ((1049,), no_database),
    ((1045, 1698, 1251, 2059), login_refused),
    ((1044,), no_access),
    ((1142, 1143, 1227, 1370, 1419, 1410), missing_right),
    ((LOCK_TIMEOUT, 1213, 1969, 1317), locked),
    ((1290, 1792, 1836), read_only),
    ((1021, 1114, 1041, 3), disk_full),
    ((1034, 1035, 1194, 1195, 1712, 1877, 1932), damaged),
    ((1153,), packet_too_large),
    ((1040, 1203, 1226), no_connection_left),
    (
        # MySQL's connector says 3024 when its own limit has passed; no server of MariaDB does.
        (1053, 1129, 1130, 1152, 2002, 2003, 2005, 2006, 2013, 2026, 2055, 3024, 3159),
        unreachable,
    ),
)


# The server's programs

_BROKEN = (2006, 2013)


def no_tool(program: str, version: str, others: Sequence[str]) -> ServerToolError:
    """Return the error for a program of this version that is not there, but ``others`` are."""
    found = f" Found: {'; '.join(others)}." if others else ""
    return ServerToolError(
        f"The server is MariaDB {version}, and there is no {program} of that version here.{found}",
        hint=f"Install the client programs of MariaDB {version} (Debian: mariadb-client), or name "
        "their directory with soulsense_tools or --tools.",
        candidates=others,
    )


def no_mysql(name: str, version: str) -> UnsupportedDatabaseError:
    """Return the error for a server of MySQL, which its URL cannot tell from one of MariaDB."""
    return UnsupportedDatabaseError(
        f"The server of {name} is MySQL {version}; only MariaDB can be backed up.",
        hint="Use mysqldump, or move the database to MariaDB.",
    )


def tool_failed(program: str, name: str, said: str) -> BackupError:
    """Return the error for a program that failed, by what it ``said`` on standard error."""
    code, reason = first_error(said)
    reason = reason or "it said nothing"
    if code in _BROKEN:
        return DatabaseUnreachableError(
            f"The connection to the server of {name} broke ({program}: {reason}).",
            hint="Check that the server runs, and try again. It also ends a connection that brings "
            "a row larger than its max_allowed_packet: is that large enough?",
            reason=reason,
        )
    if code in {found for codes, _ in _MEANINGS for found in codes}:
        return of_code(code, name, f"{program}: {reason}")
    return BackupError(
        f"{program} failed for {name} ({reason}).",
        hint="The server's log tells more.",
        reason=reason,
    )


def ended_early(name: str) -> BackupError:
    """Return the error for a dump that lacks the line that is its last one."""
    return BackupError(
        f"mariadb-dump did not write all of {name}, and did not say why.",
        hint="Try again; the server's log may tell more.",
    )


def first_error(said: str) -> tuple[int, str]:
    """Return number and text of the first error that a program named; other lines may be rows."""
    for line in said.splitlines():
        if match := _OF_A_PROGRAM.match(line):
            number = match["client"] or match["dump"]
            if not number and (at_end := _CODE_AT_END.search(line)):
                number = at_end[1]
            code = int(number or 0)
            return code, without_values(match["text"], code)
    return 0, ""


_LACKS_PACKET = "Raise max_allowed_packet on the server: it must be larger than the largest row."
_LACKS = "Give the server what it lacks, as the reason says: a setting or a storage engine, say."


@contextmanager
def refused_by_server(backup: str) -> Iterator[None]:
    """Say of a whole backup that the server did not take it, and why."""
    try:
        yield
    except BackupError as error:
        if type(error) is not BackupError:
            raise
        raise BackupError(
            f"The server did not take the backup {backup} ({error.reason}).",
            hint=f"The backup is whole. {_LACKS_PACKET if 'packet' in error.reason else _LACKS}",
            reason=error.reason,
        ) from error


# Backup files


def cut_off(name: str) -> TruncatedBackupError:
    """Return the error for a backup that has not its end."""
    return TruncatedBackupError(
        f"Invalid backup file: {name} lacks its end.", hint="Use another backup."
    )


_LOAD_IT = (
    "Load it into a new database with the program mariadb, if you trust it, and back that one up."
)


def not_of_the_program(name: str, line: int, what: str) -> InvalidBackupError:
    """Return the error for a dump with a statement that mariadb-dump does not write."""
    return InvalidBackupError(
        f"{name} is not what mariadb-dump writes of one database: line {line}: {what}.",
        hint=f"Nothing of it was executed. {_LOAD_IT}",
        reason=what,
    )


def several_databases(name: str) -> InvalidBackupError:
    """Return the error for a dump that says itself which databases it is for."""
    return InvalidBackupError(
        f"{name} says itself which databases it is for, as dumps with --databases and "
        "--all-databases do: it would be loaded into those.",
        hint="Nothing of it was executed. Dump one database without these options.",
    )


def events_would_run(name: str) -> InvalidBackupError:
    """Return the error for a dump with events, where the server would run them while it is read."""
    return InvalidBackupError(
        f"{name} has events, and the server would run them while the import is loaded.",
        hint="Nothing of it was executed. Import it while event_scheduler is OFF, or dump without "
        "--events.",
    )


def not_loaded(name: str, reason: str) -> InvalidBackupError:
    """Return the error for a dump of mariadb-dump's own that the server does not take."""
    return InvalidBackupError(
        f"Invalid backup file: {name} cannot be loaded ({reason}).",
        hint="It is damaged, or of another server, or needs what this one lacks: users, say.",
        reason=reason,
    )
