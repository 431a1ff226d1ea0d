"""Why migrations of a MariaDB database cannot run on a server of our own, as errors of the tree."""

from __future__ import annotations

from collections.abc import Sequence

from soulsense_db.errors import UnsupportedDatabaseError


def no_server(dialect: str, version: str, others: Sequence[str]) -> UnsupportedDatabaseError:
    """Return the error for a machine without the server program of this version."""
    found = f" Found: {'; '.join(others)}." if others else ""
    return UnsupportedDatabaseError(
        f"Migrations of a database of dialect '{dialect}' cannot run on a copy here: for that a "
        f"private server is started, and there is no mariadbd of version {version} on this "
        f"machine.{found}",
        hint=f"Install the server of MariaDB {version} (Debian: mariadb-server-core); it need not "
        "run. Or restore a backup to a server for tests, and run the migrations there.",
        candidates=others,
    )


def other_settings(name: str, settings: Sequence[str]) -> UnsupportedDatabaseError:
    """Return the error for a private server that would read statements in another way."""
    return UnsupportedDatabaseError(
        f"Migrations of {name} cannot run on a copy: a private server on this machine differs "
        f"from the live one in {', '.join(settings)}.",
        hint="Run them on a server for tests that is like the live one.",
        candidates=settings,
    )


def not_held(name: str, items: Sequence[str]) -> UnsupportedDatabaseError:
    """Return the error for a backup of which a private server has something otherwise."""
    return UnsupportedDatabaseError(
        f"Migrations of {name} cannot run on a copy: a private server does not have it as the live "
        f"one does: {', '.join(items)}.",
        hint="Does a table need a storage engine or a plugin that the live server has loaded? Run "
        "the migrations on a server for tests that has it as well.",
        candidates=items,
    )
