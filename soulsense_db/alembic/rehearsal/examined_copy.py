"""What became of one copy: surveyed, compared with what it was, and checked, side by side."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from soulsense_db import fs
from soulsense_db.alembic.rehearsal.renames import Renames, possible_renames
from soulsense_db.drivers import (
    DatabaseSurvey,
    DiffReport,
    Findings,
    NewKeys,
    RehearsalSupport,
    TableSurvey,
    Unchanged,
)

NO_ROWS = DiffReport(schema=(), tables=(), alembic_heads_before=(), alembic_heads_after=())


@dataclass(frozen=True, slots=True)
class Examined:
    """What was in the database, what is in the copy, which rows differ, and what is wrong.

    ``compared``: what is in the copy, and ``rows``, both with the old names of what was renamed;
    ``new_keys``: the tables of which rows have other keys, and nothing else is other of them.
    """

    before: DatabaseSurvey
    after: DatabaseSurvey
    compared: DatabaseSurvey
    rows: DiffReport
    found: Findings
    renames: Renames
    new_keys: Mapping[str, NewKeys]


@dataclass(frozen=True, slots=True)
class Examination:
    """Looks at a settled ``copy``, and at ``before``, the file as it was, where there is one.

    ``known``: what was in that, where it is known; ``statements``: those that may have renamed
    something. Tables whose pages are the same are not read.
    """

    support: RehearsalSupport
    copy: Path
    before: Path | None
    ignore: tuple[str, ...]
    version_tables: tuple[str, ...]
    known: DatabaseSurvey | None = None
    statements: Sequence[str] = ()

    def run(self, *, compares_rows: bool) -> Examined:
        """Compare rows on one core, check and survey on another: each takes about as long."""
        same = self._same()
        given_up = threading.Event()

        def poll() -> None:
            if given_up.is_set():
                raise InterruptedError

        with ThreadPoolExecutor(1) as side:
            checking = side.submit(self.support.check, self.copy, without=same.checks, poll=poll)
            surveying = side.submit(self._surveyed, same)
            try:
                rows = self._differing(same) if compares_rows else NO_ROWS
                found = checking.result()
                before, after = surveying.result()
            except BaseException:
                given_up.set()
                surveying.cancel()
                raise
        renames, compared = Renames(), after
        if compares_rows and self.before is not None:
            renames, compared, rows = self._under_old_names(self.before, before, after, rows)
        new_keys = self._new_keys(rows, besides=renames.touched)
        return Examined(before, after, compared, rows, found, renames, new_keys)

    def surveyed(self) -> tuple[DatabaseSurvey, DatabaseSurvey, DiffReport]:
        """Return what was in it, what is in it, and which rows differ; nothing is checked."""
        same = self._same()
        return *self._surveyed(same), self._differing(same)

    def _new_keys(self, rows: DiffReport, *, besides: Collection[str]) -> dict[str, NewKeys]:
        """Look at the tables that have as many rows with new keys as are gone."""
        found = {}
        for one in rows.tables:
            is_like_it = one.matched_by == "key" and one.removed == one.added > 0
            if self.before is not None and is_like_it and one.table not in besides:
                keys = self.support.new_keys(self.before, self.copy, table=one.table)
                if keys is not None:
                    found[one.table] = keys
        return found

    def _under_old_names(
        self,
        path: Path,
        before: DatabaseSurvey,
        after: DatabaseSurvey,
        rows: DiffReport,
    ) -> tuple[Renames, DatabaseSurvey, DiffReport]:
        """Return what was renamed, and the survey and the rows with the old names of that."""
        renames = possible_renames(before, after, self.statements)
        while renames:
            with self._renamed_back(renames) as copy:
                if copy is None:
                    break
                chosen = renames.touched
                # Not the new ones either, which may be the old ones in another case.
                others = {table.table for table in after.tables}
                others -= {*chosen, *renames.tables.values()}
                ignore = (*self.ignore, *self.version_tables, *others)
                again = self.support.diff(path, copy, ignore=ignore)
                wrong = renames.refuted(again)
                if not wrong:
                    kept = [table for table in after.tables if table.table in others]
                    tables = [one for one in rows.tables if one.table not in chosen]
                    tables += (one for one in again.tables if one.table in chosen)
                    return (
                        renames,
                        self._survey(copy, known=kept),
                        replace(rows, tables=tuple(tables)),
                    )
            renames = renames.without(wrong)
        return Renames(), after, rows

    @contextmanager
    def _renamed_back(self, renames: Renames) -> Iterator[Path | None]:
        """Yield a copy of the copy with the old names, None where they cannot be given back."""
        path = self.copy.with_name(f"{self.copy.name}-renamed")
        fs.require_space(path.parent, self.copy.stat().st_size)
        fs.create_private_file(path)
        try:
            fs.copy_own(self.copy, path)
            can = self.support.rename_back(path, tables=renames.tables, columns=renames.columns)
            yield path if can else None
        finally:
            fs.remove(path)

    def _same(self) -> Unchanged:
        if self.before is None:
            return Unchanged()
        return self.support.unchanged(self.before, self.copy)

    def _surveyed(self, same: Unchanged) -> tuple[DatabaseSurvey, DatabaseSurvey]:
        before = self.known
        if before is None:
            assert self.before is not None
            before = self._survey(self.before, counted=same.rows)
        kept = [table for table in before.tables if table.table in same.rows]
        return before, self._survey(self.copy, known=kept)

    def _survey(
        self, path: Path, *, counted: Iterable[str] = (), known: Iterable[TableSurvey] = ()
    ) -> DatabaseSurvey:
        return self.support.survey(
            path,
            ignore=self.ignore,
            version_tables=self.version_tables,
            counted=frozenset(counted),
            known={table.table: table for table in known},
        )

    def _differing(self, same: Unchanged) -> DiffReport:
        if self.before is None:
            return NO_ROWS
        ignore = (*self.ignore, *self.version_tables, *same.rows)
        return self.support.diff(self.before, self.copy, ignore=ignore)
