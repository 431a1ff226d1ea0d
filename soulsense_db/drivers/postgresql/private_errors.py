"""Why a private server cannot take the place of a database beside the live one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from soulsense_db.errors import MissingRightError, ServerToolError

_UNTOUCHED = "The live database was not touched."


def neither_right_nor_server(
    name: str, user: str, version: int, others: Sequence[str]
) -> MissingRightError:
    """Return the error for a user who may make no databases, on a machine without the server."""
    reason = "the user may not create databases"
    hint = f"As an administrator: ALTER ROLE {user} CREATEDB;"
    if os.name == "posix":
        found = f": {'; '.join(others)}" if others else ""
        reason += (
            f", and to start a private server instead, there is no initdb and postgres {version} "
            f"on this machine{found}"
        )
        hint += (
            f" Or install the server of PostgreSQL {version} here (Debian: postgresql-{version}); "
            "it need not run. If it is installed, let soulsense_tools, or --tools, name the "
            "directory of its programs."
        )
    return MissingRightError(
        f"A right is missing on {name} ({reason}).",
        hint=hint,
        reason=reason,
        candidates=others,
    )


def not_reached(server: Path, place: Path) -> ServerToolError:
    """Return the error for a place that only root gets to, as whom the server does not run."""
    reason = f"it does not run as root, and nobody else gets to {place}"
    return ServerToolError(
        f"The private server for a copy of the data does not start ({reason}).",
        state=_UNTOUCHED,
        hint="Let TMPDIR, or soulsense_work_directory, name a directory that others may pass "
        "(chmod o+x), or run this as another user.",
        path=server,
        reason=reason,
    )


def lacks_entry(server: Path, user: int) -> ServerToolError:
    """Return the error for a user of the system whom only a number names: ``initdb`` needs more."""
    reason = (
        f"this user (uid {user}) has no entry in the system's list of users, which initdb needs"
    )
    return ServerToolError(
        f"The private server for a copy of the data cannot be started: {reason}.",
        state=_UNTOUCHED,
        hint="Give the user an entry in /etc/passwd, or let an administrator of the database "
        "execute ALTER ROLE ... CREATEDB; for its user: no private server is needed then.",
        path=server,
        reason=reason,
    )


def lacks_extensions(server: Path, names: Sequence[str]) -> ServerToolError:
    """Return the error for a backup with extensions that this machine does not have."""
    reason = f"extensions that are not on this machine: {', '.join(names)}"
    return ServerToolError(
        f"The backup cannot be restored to a private server: it needs {reason}.",
        state=_UNTOUCHED,
        hint=f"Install them for {server}. It says nothing of the backup.",
        path=server,
        reason=reason,
        candidates=names,
    )


def lacks_locale(server: Path, names: Sequence[str | None], said: str) -> ServerToolError:
    """Return the error for a database whose locale this machine does not have."""
    named = ", ".join(dict.fromkeys(filter(None, names)))
    return ServerToolError(
        "The private server for a copy of the data cannot have a database with the locale of the "
        f"live one, {named} ({said}).",
        state=_UNTOUCHED,
        hint="Install the live database's locale on this machine. It says nothing of the backup.",
        path=server,
        reason=said,
    )
