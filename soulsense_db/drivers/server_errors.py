"""What is the same of every database server: what its errors mean, as errors of the tree.

``name`` is that of the live database, or of a backup file; ``reason`` is what the server said, in
which no value of a row may be.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL

from soulsense_db.errors import (
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
    DatabaseNotNamedError,
    DatabaseUnreachableError,
    EmptyBackupError,
    InvalidBackupError,
    MissingRightError,
    NotEnoughSpaceError,
    Outcome,
    RestoreError,
    ServerToolError,
    UnsupportedDatabaseError,
)


def replaced_is_gone(name: str) -> RestoreError:
    """Return the error for replaced data that somebody has dropped, or copied, meanwhile."""
    return RestoreError(
        f"What the last restore of {name} replaced is not on the server any more, or somebody "
        "else has made a copy of it.",
        hint="Look for a safety backup beside the backups, on this machine and on others.",
    )


def no_database(name: str, reason: str) -> DatabaseFileNotFoundError:
    """Return the error for a database that the server has not."""
    return DatabaseFileNotFoundError(
        f"Database not found: {name}.",
        hint="Check the name in the URL. To make it from a backup, restore one: the user needs the "
        "right to create databases.",
        reason=reason,
    )


def no_database_named(url: URL) -> DatabaseNotNamedError:
    """Return the error for a URL of a server without the name of a database."""
    example = url.set(database="shop", query={}).render_as_string()
    return DatabaseNotNamedError(
        "The URL of the database names a server, and no database there.",
        hint=f"Add its name at the end, before any question mark, as in {example}",
    )


def unreachable(name: str, reason: str) -> DatabaseUnreachableError:
    """Return the error for a server that does not answer."""
    return DatabaseUnreachableError(
        f"The server of {name} does not answer ({reason}).",
        hint="Check that it runs, host and port in the URL, and the network between.",
        reason=reason,
    )


def disk_full(name: str, reason: str) -> NotEnoughSpaceError:
    """Return the error for a server without room."""
    return NotEnoughSpaceError(
        f"The disk of the server of {name} is full ({reason}).",
        hint="Free some space on the server and try again.",
        reason=reason,
    )


def damaged(name: str, reason: str) -> DatabaseDamagedError:
    """Return the error for data that the server cannot read."""
    return DatabaseDamagedError(
        f"The live database {name} is damaged ({reason}).",
        hint="Restore a backup, and look at the server's log.",
        reason=reason,
    )


def locked(name: str, reason: str) -> DatabaseLockedError:
    """Return the error for a lock that was not free by the deadline."""
    return DatabaseLockedError(
        f"Database locked: {name} ({reason}).",
        hint="Close the other programs that use it, or wait until they finish, and try again.",
        reason=reason,
    )


def unsure_whether_committed(name: str, reason: str) -> DatabaseUnreachableError:
    """Return the error for a connection that broke in the very commit, and a server that is gone.

    Whether the change is there, only the server can tell.
    """
    return DatabaseUnreachableError(
        f"The connection to {name} broke when the change was committed ({reason}).",
        outcome=Outcome.UNSURE,
        hint="Once the server answers again, look whether the rows are there.",
        reason=reason,
    )


def missing_right(name: str, reason: str, *, statement: str = "") -> MissingRightError:
    """Return the error for a right that the user has not; ``statement`` gives it."""
    hint = (
        f"As an administrator: {statement}"
        if statement
        else "Have an administrator grant it, or use a user who has it. The guide's page about the "
        "server lists what each operation needs."
    )
    return MissingRightError(f"A right is missing on {name} ({reason}).", hint=hint, reason=reason)


def empty(name: str) -> EmptyBackupError:
    """Return the error for a file without any byte."""
    return EmptyBackupError(
        f"Invalid backup file: {name} is empty.",
        hint="Use another backup.",
    )


def damaged_backup(name: str, reason: str) -> InvalidBackupError:
    """Return the error for a backup that fails a check."""
    return InvalidBackupError(
        f"Invalid backup file: {name} is damaged ({reason}).",
        hint="Use another backup.",
        reason=reason,
    )


def reaches_other_databases(name: str, what: str) -> UnsupportedDatabaseError:
    """Return the error for a database out of which migrations on a copy could reach others."""
    return UnsupportedDatabaseError(
        f"Migrations of {name} cannot run on a copy: it has {what}, so that they could write to "
        "another database through it.",
        hint="Run them on a server for tests, which knows no other.",
    )


def not_in_named_directory(program: Path, server: str) -> ServerToolError:
    """Return the error for a program that is not where the option ``tools`` says; of ``server``."""
    return ServerToolError(
        f"The server is {server}, and {program} cannot be run: there is no such program, or "
        "it does not tell its version.",
        hint=f"Let soulsense_tools, or --tools, name the directory of the client programs of "
        f"{server}; without it they are looked for.",
        path=program.parent,
    )


def other_version_in_named_directory(
    program: Path, server: str, version: str, *, is_older: bool
) -> ServerToolError:
    """Return the error for a program where the option ``tools`` says that is no match."""
    how, why = (
        ("older", "cannot read a newer server")
        if is_older
        else (
            "newer",
            "writes what the server's own cannot read",
        )
    )
    return ServerToolError(
        f"{program} is of version {version}, which is {how} than the server ({server}): it {why}.",
        hint=f"Let soulsense_tools, or --tools, name the directory of the client programs of "
        f"{server}; without it they are looked for.",
        path=program.parent,
    )


def does_not_start(server: Path, reason: str) -> ServerToolError:
    """Return the error for a private server that ends, or does not answer."""
    return ServerToolError(
        f"The private server for a copy of the data does not start ({reason}).",
        state="The live database was not touched.",
        hint=f"See whether {server} runs on this machine, with files in the directory for "
        "temporary ones; TMPDIR names another.",
        path=server,
        reason=reason,
    )


def newer_server(name: str, product: str, backup: object, live: object) -> InvalidBackupError:
    """Return the error for a backup of a newer server than that which it should go to."""
    return InvalidBackupError(
        f"{name} is a backup of {product} {backup}, and the server is {product} {live}: a newer "
        "version's backup cannot be restored to an older one.",
        hint=f"Restore it to a server of version {backup} or newer.",
    )


def not_what_was_dumped(name: str, reason: str) -> DatabaseDamagedError:
    """Return the error for a restored database that is not what the backup contains."""
    return DatabaseDamagedError(
        f"The live database {name} is not what the backup contains ({reason}).",
        hint="Restore again, or another backup.",
        reason=reason,
    )
