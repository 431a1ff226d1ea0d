"""Remove from a backup directory what a policy does not keep, and nothing that is still needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    DirectoryLockedError,
    InvalidBackupError,
    MetaFileError,
    Outcome,
    ProtectedBackupError,
    StorageError,
)
from soulsense_db.operations.errors import not_all_pruned
from soulsense_db.retention import (
    PruneDecision,
    PruneReport,
    RetentionPolicy,
    apply_policy,
    pool_of,
)


class Pruning:
    """One run of ``policy`` over ``backups``.

    ``kinds``: those to remove from, all when empty; ``protected``: why a backup stays whatever the
    policy says, by its file name.
    """

    def __init__(
        self,
        backups: Iterable[BackupInfo],
        policy: RetentionPolicy,
        *,
        kinds: Collection[str],
        protected: Mapping[str, str],
    ) -> None:
        self._policy = policy
        self._kinds = kinds
        self._protected = dict(protected)
        # What nobody knows stays, and takes no place that a rule has for a known one.
        unknown = _unknown(backups := list(backups))
        self._backups = [info for info in backups if info.filename not in unknown]
        self._apart = tuple(
            PruneDecision(backup=info, reasons=(unknown[info.filename],))
            for info in backups
            if info.filename in unknown
        )
        self._now = datetime.now(UTC)
        self.deleted = False
        """Whether anything was removed so far."""

    def report(self) -> PruneReport:
        """Return what the policy says, doing nothing."""
        found = apply_policy(self._backups, self._policy, now=self._now, protected=self._protected)
        kept = sorted((*found.kept, *self._apart), key=lambda d: d.backup.order, reverse=True)
        report = PruneReport(kept=tuple(kept), removed=found.removed)
        if not self._kinds:
            return report
        return PruneReport(kept=self._wanted(report.kept), removed=self._wanted(report.removed))

    def run(
        self, *, check: Callable[[BackupInfo], object], delete: Callable[[BackupInfo], None]
    ) -> PruneReport:
        """Remove what the policy says, oldest first; return what became of it.

        ``check`` raises for a backup that is no good; the newest that is good stays, of each kind
        from which something is removed. Goes on when one cannot be removed, and raises at the end
        what ``delete`` raised, or :class:`PruneError` when others were removed.
        """
        for pool in {pool_of(decision.backup) for decision in self.report().removed}:
            self._find_sound(pool, check)
        report = self.report()
        pinned: list[PruneDecision] = []
        failures: list[StorageError] = []
        for decision in reversed(report.removed):
            try:
                delete(decision.backup)
                self.deleted = True
            except BackupNotFoundError:
                continue  # another process was a moment earlier
            except StorageError as error:
                failures.append(error)
                if isinstance(error, DirectoryLockedError):
                    break  # each of the others would wait as long
            except ProtectedBackupError:
                pinned.append(replace(decision, reasons=("pinned a moment ago",)))
            except BackupError as error:  # something else was put in its place
                if self.deleted:
                    error.with_outcome(Outcome.PARTLY)
                raise
        if failures and not self.deleted:
            unsure = (error for error in failures if error.outcome is not Outcome.UNCHANGED)
            raise next(unsure, failures[0])
        if failures:
            raise not_all_pruned(len(failures), failures[0]) from failures[0]
        spared = {decision.backup.filename for decision in pinned}
        return PruneReport(
            kept=(*report.kept, *pinned),
            removed=tuple(d for d in report.removed if d.backup.filename not in spared),
        )

    def _find_sound(self, name: tuple[str, bool], check: Callable[[BackupInfo], object]) -> None:
        """Make sure that a sound backup of a pool stays, before others of it go."""
        kind = name[0]
        pool = [info for info in self._backups if pool_of(info) == name]
        for info in pool:  # newest first
            try:
                check(info)
            except (InvalidBackupError, MetaFileError, BackupNotFoundError, StorageError):
                self._backups[self._backups.index(info)] = replace(info, verified_at=None)
                continue
            if info.filename in {d.backup.filename for d in self.report().removed}:
                self._protected[info.filename] = f"newest sound one of kind {kind}"
            return
        self._protected |= {
            info.filename: f"no backup of kind {kind} passed a check" for info in pool
        }

    def _wanted(self, decisions: Iterable[PruneDecision]) -> tuple[PruneDecision, ...]:
        return tuple(d for d in decisions if d.backup.kind in self._kinds)


def _unknown(backups: Iterable[BackupInfo]) -> dict[str, str]:
    """Return what nobody can say of which database it is, or how good."""
    reasons = {}
    for info in backups:
        if info.meta_problem:
            reasons[info.filename] = "its meta file is damaged"
        elif info.sha256 is None:
            reasons[info.filename] = "it has no meta file"
        elif info.of_unknown_origin:
            reasons[info.filename] = "of unknown origin"
    return reasons
