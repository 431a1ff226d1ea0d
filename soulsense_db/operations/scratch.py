"""A private copy of the live database, or of a backup's data, to try something on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.meta_file import not_found_if_deleted, trusted_meta
from soulsense_db.operations.errors import checksum_differs
from soulsense_db.operations.references import Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.stored_form import opened
from soulsense_db.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchCopy:
    """A copy of a database that may be changed, and is gone at the end of its block.

    Attributes:
        path: The file. What is put beside it, under names that begin with its own, goes with it.
        backup: The backup whose data it is; None for that of the live database.
        alembic_heads: The Alembic revisions in it, sorted.
        facts: What the driver says of the data, by name.
        catalog_tables: The table of the backups, which is none of the application's.

    Example:
        >>> with manager.scratch_copy() as copy:
        ...     print(copy.alembic_heads, copy.backup)
        ('1975ea83b712',) None
    """

    path: Path
    backup: BackupInfo | None
    alembic_heads: tuple[str, ...]
    facts: Mapping[str, str]
    catalog_tables: frozenset[str] = frozenset()


@contextmanager
def scratch_copy(
    repository: Repository,
    ref: Reference | None,
    *,
    spares: int = 0,
    progress: Progress | None = None,
) -> Iterator[ScratchCopy]:
    """Do what ``BackupManager.scratch_copy`` does; ``spares``: as of ``Repository.work_file``."""
    driver = repository.driver
    tables = repository.rows.tables(if_unreadable=True)
    if ref is None:
        driver.require_database()
        with repository.work_file(driver.size(), spares=spares) as path:
            found = driver.snapshot(path, progress=progress)
            yield ScratchCopy(
                path=path,
                backup=None,
                alembic_heads=found.alembic_heads,
                facts=found.facts,
                catalog_tables=tables,
            )
        return
    info = trusted_meta(repository.finder.get_own(ref))
    with ExitStack() as stack:
        source = stack.enter_context(opened(repository, info, spares=spares, progress=progress))
        path = source.path
        if not source.is_private:  # that one is a copy of ours already
            path = stack.enter_context(repository.work_file(info.size_bytes, spares=spares))
            _copy(info, path, progress)
        yield ScratchCopy(
            path=path,
            backup=info,
            alembic_heads=driver.heads_in(path),
            facts=dict(info.driver_facts),
            catalog_tables=tables,
        )


def _copy(info: BackupInfo, target: Path, progress: Progress | None) -> None:
    source = Path(info.path)
    with not_found_if_deleted(source, info):
        fs.copy_contents(source, target, progress=progress)
    if info.sha256 is not None and fs.sha256_of_own(target) != info.sha256:
        raise checksum_differs(source)
