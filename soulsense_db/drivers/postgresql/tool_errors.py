"""What it means that a program of the server fails, as errors of the tree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from soulsense_db.drivers.postgresql.errors import (
    CONNECTION_LOST,
    CONNECTIONS_USED_UP,
    DISK_FULL,
    NO_LOCK,
    NO_RIGHT,
    TOO_FEW_LOCKS,
    no_connection_left,
    too_few_locks,
    without_values,
)
from soulsense_db.drivers.postgresql.missing_rights import no_right
from soulsense_db.drivers.server_errors import (
    locked,
)
from soulsense_db.errors import (
    BackupError,
    DatabaseUnreachableError,
    NotEnoughSpaceError,
    ServerToolError,
)

_PREFIX_OF_TOOL = re.compile(r"^(could not execute query|query failed): ")


def no_tool(program: str, version: int, others: Sequence[str]) -> ServerToolError:
    """Return the error for a program of this version that is not there, but ``others`` are."""
    found = f" Found: {'; '.join(others)}." if others else ""
    return ServerToolError(
        f"The server is PostgreSQL {version}, and there is no {program} {version} here.{found}",
        hint=f"Install the client programs of version {version} (Debian: postgresql-client-"
        f"{version}), or name their directory with soulsense_tools or --tools.",
        candidates=others,
    )


def tool_killed(program: str, name: str, signal: int) -> ServerToolError:
    """Return the error for a program that somebody ended, as the system does without memory."""
    reason = f"{program} was ended by signal {signal}"
    return ServerToolError(
        f"A program of the server did not end its work for {name} ({reason}).",
        hint="Try again. Without memory the system ends programs: its log tells.",
        reason=reason,
    )


# Rows that a policy hides, a table that is somebody else's, a role that one is no member of.
_NO_RIGHT_WORDS = (
    "permission denied",
    "row-level security policy",
    "must be owner of",
    "must be member of",
    "must be able to SET ROLE",
    "must be superuser",
    "must have privileges",
)


# pg_dump, which speaks English to us, tells the statement that failed.
_LOCKING = "Query was: LOCK TABLE"
# How libpq tells that a session has ended, in fe-misc.c and fe-exec.c, and the server why. A
# snapshot is gone with the session of ours that has exported it.
_LOST = re.compile(
    "server closed the connection unexpectedly|terminating connection|no connection to the server"
    "|could not receive data from server|SSL connection has been closed unexpectedly"
    '|snapshot "[^"]*" does not exist'
)


def tool_failed(program: str, name: str, said: str, *, user: str, code: str = "") -> BackupError:
    """Return the error for a program that failed, by what it ``said`` on standard error.

    ``user``: as whom it was connected; ``code``: of the server's error, where the program tells it.
    What the server says is in English only where its own language is.
    """
    reason = first_error(said) or "it said nothing"
    if code == NO_RIGHT or any(words in reason for words in _NO_RIGHT_WORDS):
        return no_right(name, reason, user)
    # pg_dump waits for locks with a timeout for the statement.
    is_late = "canceling statement due to" in reason and "timeout" in reason
    is_beaten = "tuple concurrently updated" in reason
    # Of several jobs none waits.
    if code in NO_LOCK or is_late or is_beaten or "could not obtain lock" in reason:
        return locked(name, reason)
    if code == TOO_FEW_LOCKS or "out of shared memory" in reason:
        return too_few_locks(name, reason)
    if code == DISK_FULL or "No space left" in reason or "could not extend file" in reason:
        return NotEnoughSpaceError(
            f"A disk is full ({program}: {reason}).",
            hint="Free some space on the server, or in the backup directory, and try again.",
            reason=reason,
        )
    return _session_failed(program, name, reason, said, code) or (
        # In another language: we have that lock ourselves, so it may be had, some time.
        locked(name, reason) if _LOCKING in said else _failed(program, name, reason)
    )


def _failed(program: str, name: str, reason: str) -> BackupError:
    return BackupError(
        f"{program} failed for {name} ({reason}).",
        hint="The server's log tells more.",
        reason=reason,
    )


def _session_failed(
    program: str, name: str, reason: str, said: str, code: str
) -> DatabaseUnreachableError | None:
    """Return the error for a session that a program did not get, or that has ended."""
    if "startup parameter" in reason:  # of a session: amounts of money need one
        return DatabaseUnreachableError(
            f"The pooler before the server of {name} takes no settings ({program}: {reason}).",
            hint="Use the server's own host and port in the URL.",
            reason=reason,
        )
    if any(words in reason for words in CONNECTIONS_USED_UP):
        return no_connection_left(name, reason)
    if lost := _LOST.search(said):  # not in its first line: that is about the table
        reason = lost.group()
    if lost or code.startswith(CONNECTION_LOST) or "connection" in reason:
        return DatabaseUnreachableError(
            f"The connection to the server of {name} broke ({program}: {reason}).",
            hint="Check that the server runs, and try again.",
            reason=reason,
        )
    return None


def unknown_archive(name: str, reason: str) -> ServerToolError:
    """Return the error for what several jobs of pg_dump wrote, in a way that is not known here."""
    return ServerToolError(
        f"pg_dump wrote the backup of {name} in a way that is not known to this version "
        f"({reason}).",
        hint="Create it with one job: --jobs 1.",
        reason=reason,
    )


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
            hint="The backup is whole. Make what it needs of the server: roles, extensions and "
            "tablespaces are not in it.",
            reason=error.reason,
        ) from error


def first_error(said: str) -> str:
    """Return what the first line of an error says: what follows it may quote rows."""
    for line in said.splitlines():
        _, mark, text = line.partition("error: ")
        if mark:
            return without_values(_PREFIX_OF_TOOL.sub("", text))
    return without_values(said)
