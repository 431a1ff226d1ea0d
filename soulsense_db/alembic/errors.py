"""Why migrations are refused, or have failed, as errors of the tree and of Alembic's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alembic.util import CommandError

from soulsense_db.codecs import PASSPHRASE
from soulsense_db.errors import (
    BackupError,
    DatabaseLockedError,
    DataLossError,
    IdentityError,
    OptionError,
    Outcome,
    RehearsalFailedError,
    UnsupportedDatabaseError,
)
from soulsense_db.settings import KEY_FILE_VARIABLE, FormOptions

__all__ = [
    "DataLossRefusedError",
    "MigrationFailedError",
    "MigrationRefusedError",
    "RehearsalRefusedError",
]

_NOT_RUN = "No migration was run."
ACCEPT_LOSS = "soulsense_accept_loss"
"""The argument for env.py (``-x``) with which a user accepts that an upgrade loses data."""


class MigrationRefusedError(BackupError, CommandError):
    """The database cannot be protected, so no step was run; Alembic prints it as one line."""

    exit_code = 72

    @property
    def meaning(self) -> str:
        """What it means for the data."""
        if self.outcome is Outcome.UNCHANGED:
            return _NOT_RUN
        return f"{super().meaning} {_NOT_RUN}"


class MigrationFailedError(BackupError, CommandError):
    """Not all steps were run, and env.py ended as if they had been."""

    exit_code = 75


class RehearsalRefusedError(MigrationRefusedError, RehearsalFailedError):
    """The rehearsal before the upgrade failed, so no step was run on the live database."""

    exit_code = 78


class DataLossRefusedError(MigrationRefusedError, DataLossError):
    """The rehearsal before the upgrade lost data, so no step was run on the live database."""

    exit_code = 79


def refused(error: BackupError) -> MigrationRefusedError:
    """Return the refusal to migrate because of ``error``."""
    # Nothing was written to the database yet: whatever failed, it is what it was.
    is_half_run = error.outcome is Outcome.HALF_RUN
    outcome = Outcome.HALF_RUN if is_half_run else Outcome.UNCHANGED
    refusal: type[MigrationRefusedError] = MigrationRefusedError
    if isinstance(error, RehearsalFailedError):
        refusal = RehearsalRefusedError
    elif isinstance(error, DataLossError):
        refusal = DataLossRefusedError
    return refusal(error.what, **error.facts | {"outcome": outcome, "state": ""})


def require_identities(forms: FormOptions) -> None:
    """Raise :class:`IdentityError` where backups are encrypted and nothing would open them."""
    if forms["recipients"] in (None, (PASSPHRASE,)):  # that one is needed to make them as well
        return
    if not forms["identities"]:
        raise IdentityError(
            "The backup before the migration would be encrypted, and no private key is given: if a "
            "step failed, the database could not be put back.",
            hint="Name the key file: soulsense_identity_file in the configuration of Alembic, or "
            f"{KEY_FILE_VARIABLE}. Or set soulsense_on_failure = keep: then nothing is put back, "
            "and no key is needed.",
        )


def not_loadable(error: BackupError) -> UnsupportedDatabaseError:
    """Return the error for a database that could not be put back, for its server refuses a part."""
    keep = "Or set soulsense_on_failure = keep: then nothing is put back."
    hint = f"{error.hint} {keep}".strip()
    return UnsupportedDatabaseError(error.what, **error.facts | {"remedy": None, "hint": hint})


def rehearsal_lost_data(first: str, more: int, target: str) -> DataLossError:
    """Return the error for an upgrade to ``target`` whose rehearsal lost data.

    ``first``: the first finding; ``more``: how many more there are.
    """
    return DataLossError(
        f"The rehearsal of this upgrade loses data. {_with_more(first, more)}",
        hint="Correct the migration; 'soulsense-db rehearse' shows all that was found. If the loss "
        f"is what the upgrade is for, accept it: alembic -x {ACCEPT_LOSS}=1 upgrade {target}",
    )


def rehearsal_failed(first: str, more: int) -> RehearsalFailedError:
    """Return the error for an upgrade that fails in its rehearsal, or breaks something there."""
    return RehearsalFailedError(
        f"The rehearsal of this upgrade failed. {_with_more(first, more)}",
        hint="Correct the migration, or env.py. 'soulsense-db rehearse' shows all that was found.",
    )


def rehearsal_missed(path: Path) -> RehearsalFailedError:
    """Return the error for a rehearsal in which env.py led to another database than ``path``."""
    return RehearsalFailedError(
        f"The rehearsal of this upgrade ran no step on a copy of {path}: in a process of its own, "
        "env.py leads to another database.",
        hint="Let env.py find the database without what this process alone has, such as a "
        "connection in config.attributes; or set soulsense_rehearse = false.",
        path=path,
    )


def or_without_rehearsal(error: BackupError) -> BackupError:
    """Return the error for a rehearsal that a server does not allow, with the other way out."""
    error.remedy = replace(
        error.remedy,
        sentence=f"{error.remedy.sentence}   Or, to upgrade without a rehearsal: set "
        "soulsense_rehearse = false.",
    )
    return error


def rehearsal_without_backup() -> OptionError:
    """Return the error for migrations that are to be rehearsed and are not protected."""
    return OptionError(
        "soulsense_rehearse is set, and nothing protects these migrations.",
        hint="Set soulsense_backup = true as well, or put 'with safe_migrations(context):' into "
        "env.py.",
    )


def _with_more(first: str, more: int) -> str:
    return f"{first} And {more} more." if more else first


def other_thread(seconds: float) -> MigrationRefusedError:
    """Return the error for a command that waited ``seconds`` for one of another thread."""
    return MigrationRefusedError(
        f"Another thread of this program has been running an Alembic command for {seconds:.0f} s.",
        hint="Run one command after another.",
    )


def swallowed(what: str, outcome: Outcome, states: Sequence[str]) -> MigrationFailedError:
    """Return the error for a failure that env.py did not pass on; ``states``: of each database."""
    return MigrationFailedError(
        f"{what}, and env.py ended without an error.",
        outcome=outcome,
        state=" ".join(states),
        hint="In env.py, do not suppress the error of context.run_migrations(), and end each "
        "transaction that env.py begins itself.",
    )


def own_transaction(database: Path | str) -> DatabaseLockedError:
    """Return the error for a database that this thread itself has locked."""
    return DatabaseLockedError(
        f"This program has migrated {database} in a transaction that is still open.",
        hint="Commit or roll back first, or pass the same connection to both commands.",
        path=database if isinstance(database, Path) else None,
    )


def version_table_attached(table: str, file: str) -> UnsupportedDatabaseError:
    """Return the error for a version table that is not in the database that is backed up."""
    return UnsupportedDatabaseError(
        f"The version table {table} is in {file}, which is attached: it is neither backed up nor "
        "put back.",
        hint="Keep the version table in the main database; or back up both files yourself, and "
        "run this migration with SOULSENSE_BACKUP=0.",
    )


def version_table_elsewhere(table: str) -> UnsupportedDatabaseError:
    """Return the error for a version table in another database of the server."""
    return UnsupportedDatabaseError(
        f"The version table {table} is in another database of the server: it is neither backed up "
        "nor put back.",
        hint="Leave version_table_schema out of env.py; or back up both databases yourself, and "
        "run this migration with SOULSENSE_BACKUP=0.",
    )


def attached(name: str, file: str) -> UnsupportedDatabaseError:
    """Return the error for an attached ``file`` that a step may write to, under ``name``."""
    return UnsupportedDatabaseError(
        f"{file} is attached: it is neither backed up nor put back. If a step failed "
        "after changing it, only the main database would be put back.",
        hint=f"Do not attach {name} in migrations; or, if no step writes to "
        "attached files, set soulsense_attached = ignore in the configuration of Alembic.",
    )
