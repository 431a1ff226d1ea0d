"""What stands beside the live database and keeps an operation from it, as errors of the tree."""

from __future__ import annotations

from pathlib import Path

from soulsense_db.errors import (
    Action,
    Command,
    DatabaseLockedError,
    InterruptedMigrationError,
    Outcome,
    Remedy,
    StorageError,
    accept_command,
    database_options,
    restore_command,
)


def at_work(name: str) -> DatabaseLockedError:
    """Return the error for a database that another restore or migration has."""
    return DatabaseLockedError(
        f"Database locked: another restore or migration of {name} is running.",
        hint="Wait until it has finished and try again.",
    )


def interrupted(
    database: Path | str, address: str, migration: str, backup: Path
) -> InterruptedMigrationError:
    """Return the error for a database whose ``migration`` died; ``backup``: from before it."""
    # The marker of a database on a server is with its backups.
    directory = None if isinstance(database, Path) else backup.parent
    return InterruptedMigrationError(
        f"A migration of {database} ({migration}) was interrupted.",
        outcome=Outcome.HALF_RUN,
        remedy=Remedy(
            commands=(
                restore_command("To put it back", address, backup),
                accept_command("Or leave the database as it is", address, directory),
            )
        ),
        path=database if isinstance(database, Path) else None,
        backup=backup,
    )


def interrupted_elsewhere(
    database: Path | str, address: str, migration: str, backup: Path
) -> InterruptedMigrationError:
    """Return the error for one whose ``backup`` is not on this machine, or is there no more."""
    return InterruptedMigrationError(
        f"A migration of {database} ({migration}) was interrupted.",
        outcome=Outcome.HALF_RUN,
        remedy=Remedy(
            f"The backup from before it, {backup}, is not on this machine. To put it back, restore "
            "it on the machine that has it, or bring it here with its .meta file and import it.",
            (accept_command("Or leave the database as it is", address),),
        ),
        backup=backup,
    )


def interrupted_without_backup(
    database: Path | str, address: str, why: str
) -> InterruptedMigrationError:
    """Return the error where the marker does not say which backup is the one; ``why`` not."""
    return InterruptedMigrationError(
        f"A migration of {database} was interrupted, and {why}.",
        outcome=Outcome.HALF_RUN,
        remedy=Remedy(
            "The newest backup of kind pre_migration is probably the one from before it.",
            (
                Command(Action.LIST, "To find it", database_options(address)),
                accept_command("Or leave the database as it is", address),
            ),
        ),
        path=database if isinstance(database, Path) else None,
        reason=why,
    )


def no_marker(path: Path) -> StorageError:
    """Return the error for what is no file of ours in the place of a migration marker."""
    return StorageError(
        f"{path} is not a migration marker: it is a directory, a pipe, a link, or far too large.",
        hint="Find out what created it, and move it away.",
        path=path,
    )


def no_work_file(error: StorageError, directory: Path) -> StorageError:
    """Return ``error``, which keeps a copy of the data from being made in ``directory``."""
    return type(error)(
        f"A private copy of the data cannot be made in {directory}. {error.what}",
        hint="Make room there, or give a directory of your own as the work directory.",
        path=directory,
    )
