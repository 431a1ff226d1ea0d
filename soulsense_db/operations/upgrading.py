"""What a backup's data goes through between the backup and today's code: its migrations.

They run on a private copy. How they are run, this module does not know: it is given something that
does it, such as :func:`soulsense_db.alembic.upgrade_to` returns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from soulsense_db.operations.live_database import LiveDatabase
from soulsense_db.operations.scratch import ScratchCopy


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeReport:
    """What migrations did to a copy of a backup's data.

    Attributes:
        revision: Where they were to lead, as it was given: ``head``, say.
        heads_before: The Alembic revisions that the data was at, sorted.
        alembic_heads: Those that it is at now, sorted.
        steps: The revisions whose steps were run, in their order.
        seconds: How long it took.
        others: Other databases that the migrations write to. They wrote to copies, which are gone.
        problem: Why the data did not get there, a sentence; empty where it did.

    Example:
        >>> from alembic.config import Config
        >>> from soulsense_db.alembic import restore_and_upgrade
        >>> report = restore_and_upgrade(Config("alembic.ini"), "latest", manager=manager)
        >>> report.upgrade.alembic_heads
        ('27c6a30d7c24',)
    """

    revision: str
    heads_before: tuple[str, ...]
    alembic_heads: tuple[str, ...]
    steps: tuple[str, ...]
    seconds: float
    others: tuple[Path, ...] = ()
    problem: str = ""


class Upgrade(Protocol):
    """Migrates a copy of a backup's data: what ``BackupManager.restore`` and ``verify`` take.

    Example:
        >>> from alembic.config import Config
        >>> from soulsense_db.alembic import upgrade_to
        >>> report = manager.restore("latest", upgrade=upgrade_to(Config("alembic.ini")))
        >>> report.upgrade.steps
        ('27c6a30d7c24',)
    """

    def __call__(
        self,
        copy: ScratchCopy,
        live: LiveDatabase,
        *,
        is_trial: bool,
        poll: Callable[[], object] | None = None,
    ) -> UpgradeReport:
        """Migrate ``copy``, and leave all else as it is.

        Args:
            copy: The data, in a file that may be changed. What is put beside it, under names that
                begin with its own, is removed with it.
            live: The database in whose place it comes, which is neither read nor written.
            is_trial: Whether the copy is thrown away afterwards, whatever comes of it.
            poll: Called now and then; what it raises cancels.

        Returns:
            What was done. That the data does not migrate is a ``problem`` in it.

        Raises:
            BackupError: The migrations could not be run here and now. That says nothing of the
                backup.

        Example:
            >>> from alembic.config import Config
            >>> from soulsense_db.alembic import upgrade_to
            >>> upgrade = upgrade_to(Config("alembic.ini"))
            >>> with manager.scratch_copy("latest") as copy:
            ...     upgrade(copy, manager.live, is_trial=True).problem
            ''
        """
        ...
