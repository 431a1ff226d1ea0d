"""What a backup's data goes through between the backup and today's code: its migrations.

They run on a private copy. How they are run, this module does not know: it is given something that
does it, such as :func:`soulsense_db.alembic.upgrade_to` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from soulsense_db.operations.live_database import LiveDatabase
from soulsense_db.operations.scratch import ScratchCopy

# Of a table of Alembic's own: a migration that merges branches leaves fewer revisions in it.
_VERSIONS = "alembic_version"
_MOST_TABLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FewerRows:
    """A table that has fewer rows once the data is migrated.

    Attributes:
        table: Its name.
        before: How many rows it had.
        after: How many it has now; None where the table is gone.

    Example:
        >>> from alembic.config import Config
        >>> from soulsense_db.alembic import upgrade_to
        >>> report = manager.restore("latest", upgrade=upgrade_to(Config("alembic.ini")))
        >>> report.upgrade.fewer_rows
        ()
    """

    table: str
    before: int
    after: int | None

    def __str__(self) -> str:
        rows = f"{self.before:,} row{'' if self.before == 1 else 's'}"
        if self.after is None:
            return f"{self.table} is gone, with its {rows}"
        return f"{self.table} has {self.after:,} of {rows}"


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
        fewer_rows: The tables that have fewer rows now. A rehearsal on the backup tells why.
        new_columns: Columns that tables of the backup did not have, as ``table.column``. What the
            live database has in them is in no backup from before.

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
    fewer_rows: tuple[FewerRows, ...] = ()
    new_columns: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of it, a sentence each.

        Example:
            >>> from alembic.config import Config
            >>> from soulsense_db.alembic import restore_and_upgrade
            >>> report = restore_and_upgrade(Config("alembic.ini"), "latest", manager=manager)
            >>> report.upgrade.warnings
            ()
        """
        if not self.fewer_rows:
            return ()
        shown = "; ".join(map(str, self.fewer_rows[:_MOST_TABLES]))
        more = len(self.fewer_rows) - _MOST_TABLES
        shown += f"; and {more} more tables" if more > 0 else ""
        return (f"Once migrated, the data has fewer rows than the backup: {shown}.",)


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


def fewer_rows(
    before: Mapping[str, int] | None, after: Mapping[str, int] | None
) -> tuple[FewerRows, ...]:
    """Return which tables have fewer rows; None: nobody could count them.

    A table that is gone, while a new one has as many rows, is taken for renamed.
    """
    if before is None or after is None:
        return ()
    new = [rows for table, rows in after.items() if table not in before]

    def found() -> Iterator[FewerRows]:
        for table, rows in sorted(before.items()):
            now = after.get(table)
            if _VERSIONS in table or not rows or (now is not None and now >= rows):
                continue
            if now is None and rows in new:
                new.remove(rows)
                continue
            yield FewerRows(table=table, before=rows, after=now)

    return tuple(found())
