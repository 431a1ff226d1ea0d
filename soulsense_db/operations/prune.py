"""Remove from a backup directory what a policy does not keep, and nothing that is still needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType

from soulsense_db.backup_info import BackupInfo, dependents
from soulsense_db.completion import Completion
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
from soulsense_db.events import Removed
from soulsense_db.notices import log_ignored
from soulsense_db.operations.errors import not_all_pruned
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.verify import check_and_record
from soulsense_db.retention import (
    PruneDecision,
    PruneReport,
    RetentionPolicy,
    apply_policy,
    pool_of,
)
from soulsense_db.sidecars import markers_needing


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What a policy says of some backups.

    ``report``: what stays and what goes; the rest is what that was decided by: ``backups``, newest
    first; ``kinds``: those to remove from, all when empty; ``protected``: why a backup stays
    whatever the policy says, by its file name; ``now``, aware.
    """

    backups: tuple[BackupInfo, ...]
    policy: RetentionPolicy
    kinds: frozenset[str]
    protected: Mapping[str, str]
    now: datetime
    report: PruneReport

    def with_failed(self, failed: BackupInfo) -> PrunePlan:
        """Return the plan after a backup has failed a check."""
        backups = (
            replace(info, verified_at=None) if info == failed else info for info in self.backups
        )
        return self._again(backups, self.protected)

    def with_protected(self, protected: Mapping[str, str]) -> PrunePlan:
        """Return the plan with more backups that stay, and why."""
        return self._again(self.backups, {**self.protected, **protected})

    def _again(self, backups: Iterable[BackupInfo], protected: Mapping[str, str]) -> PrunePlan:
        return plan_prune(backups, self.policy, now=self.now, kinds=self.kinds, protected=protected)


def plan_prune(
    backups: Iterable[BackupInfo],
    policy: RetentionPolicy,
    *,
    now: datetime,
    kinds: Collection[str] = (),
    protected: Mapping[str, str] = MappingProxyType({}),
) -> PrunePlan:
    """Return what ``policy`` says of ``backups``; no file, database or clock is touched.

    What is kept and is a differential keeps its base.
    """
    backups = tuple(backups)
    bases: dict[str, str] = {}
    while True:
        report = _report(backups, policy, now=now, kinds=kinds, protected={**bases, **protected})
        more = _bases_kept(backups, report)
        if not more:
            break
        bases |= more
    return PrunePlan(
        backups=backups,
        policy=policy,
        kinds=frozenset(kinds),
        protected=protected,
        now=now,
        report=report,
    )


def _bases_kept(backups: Iterable[BackupInfo], report: PruneReport) -> dict[str, str]:
    """Return which of those to be removed are the bases of what is kept, and why they stay."""
    removed = {decision.backup.filename: decision.backup for decision in report.removed}
    kept = [info for info in backups if info.filename not in removed]
    found: dict[str, str] = {}
    for info in sorted(removed.values(), key=lambda info: info.verified_at is None):
        # Of two sound ones with the same content one is enough.
        there = (*kept, *(removed[name] for name in found))
        if needing := dependents(info, there):
            found[info.filename] = f"base of {len(needing)} differential backup(s)"
    return found


def _report(
    backups: Iterable[BackupInfo],
    policy: RetentionPolicy,
    *,
    now: datetime,
    kinds: Collection[str],
    protected: Mapping[str, str],
) -> PruneReport:
    # What nobody knows stays, and takes no place that a rule has for a known one.
    backups = tuple(backups)
    unknown = _unknown(backups)
    found = apply_policy(
        (info for info in backups if info.filename not in unknown),
        policy,
        now=now,
        protected=protected,
    )
    apart = (
        PruneDecision(backup=info, reasons=(unknown[info.filename],))
        for info in backups
        if info.filename in unknown
    )
    kept = sorted((*found.kept, *apart), key=lambda d: d.backup.order, reverse=True)
    return PruneReport(kept=_of_kinds(kinds, kept), removed=_of_kinds(kinds, found.removed))


def _of_kinds(
    kinds: Collection[str], decisions: Iterable[PruneDecision]
) -> tuple[PruneDecision, ...]:
    return tuple(d for d in decisions if not kinds or d.backup.kind in kinds)


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


def checked(plan: PrunePlan, check: Callable[[BackupInfo], object]) -> PrunePlan:
    """Return ``plan`` such that a sound backup stays in each pool from which something is removed.

    ``check`` raises for a backup that is no good.
    """
    for pool in {pool_of(decision.backup) for decision in plan.report.removed}:
        plan = _with_sound_one(plan, pool, check)
    return plan


def _with_sound_one(
    plan: PrunePlan, pool: tuple[str, bool], check: Callable[[BackupInfo], object]
) -> PrunePlan:
    unknown = _unknown(plan.backups)
    kind = pool[0]
    known = [i for i in plan.backups if pool_of(i) == pool and i.filename not in unknown]
    for info in known:  # newest first
        try:
            check(info)
        except (
            InvalidBackupError,
            MetaFileError,
            BackupNotFoundError,
            StorageError,
        ) as error:
            log_ignored(f"{info.filename} is not the one that is relied on", error)
            plan = plan.with_failed(info)
            continue
        if info.filename in {d.backup.filename for d in plan.report.removed}:
            return plan.with_protected({info.filename: f"newest sound backup of kind {kind}"})
        return plan
    return plan.with_protected(
        {info.filename: f"no backup of kind {kind} passed a check" for info in known}
    )


def execute(repository: Repository, plan: PrunePlan) -> PruneReport:
    """Remove what ``plan`` says, oldest first; return what became of it.

    Goes on when one cannot be removed, and raises at the end what that raised, or
    :class:`PruneError` when others were removed.
    """
    report = plan.report
    deleted: list[str] = []
    pinned: list[PruneDecision] = []
    failures: list[StorageError] = []
    try:
        for decision in in_order(report.removed):
            try:
                repository.directory.delete(decision.backup)
                deleted.append(decision.backup.filename)
                repository.tell(_removed(repository, plan, decision))
            except BackupNotFoundError:
                continue  # another process was a moment earlier
            except StorageError as error:
                failures.append(error)
                if isinstance(error, DirectoryLockedError):
                    break  # each of the others would wait as long
            except ProtectedBackupError as error:
                pinned.append(replace(decision, reasons=(error.reason,)))
            except BackupError as error:  # something else was put in its place
                if deleted:
                    error.with_outcome(Outcome.PARTLY)
                raise
    finally:
        if deleted:
            with Completion("Old backups were removed.").then("The catalog is out of date"):
                repository.with_catalog_as_it_is().sync_catalog()
    if failures and not deleted:
        unsure = (error for error in failures if error.outcome is not Outcome.UNCHANGED)
        raise next(unsure, failures[0])
    if failures:
        raise not_all_pruned(len(failures), failures[0], deleted) from failures[0]
    spared = {decision.backup.filename for decision in pinned}
    return PruneReport(
        kept=(*report.kept, *pinned),
        removed=tuple(d for d in report.removed if d.backup.filename not in spared),
    )


def in_order(removed: Iterable[PruneDecision]) -> list[PruneDecision]:
    """Return oldest first, and what differentials need after them."""
    oldest_first = sorted(removed, key=lambda decision: decision.backup.order)
    return sorted(oldest_first, key=lambda decision: not decision.backup.form.is_differential)


def _removed(repository: Repository, plan: PrunePlan, decision: PruneDecision) -> Removed:
    return Removed(
        database=repository.database,
        backup=decision.backup,
        reason=", ".join(decision.reasons),
        policy=str(plan.policy),
    )


def prune_backups(
    repository: Repository,
    policy: RetentionPolicy,
    *,
    kinds: Collection[str] = (),
    protected: Mapping[str, str] = MappingProxyType({}),
    dry_run: bool = False,
) -> PruneReport:
    """Remove what ``policy`` does not keep; ``dry_run``: return what that is, and do nothing.

    The newest backup that passes a check stays, of each kind from which something is removed. The
    copies that killed processes left beside the database go too.
    """
    if dry_run:
        return _plan(repository, policy, kinds, protected).report
    with repository.failing("prune"):
        repository.remove_abandoned_work()
        plan = _plan(repository, policy, kinds, protected)
        plan = checked(plan, lambda info: check_and_record(repository, info, level="quick"))
        return execute(repository, plan)


def _plan(
    repository: Repository,
    policy: RetentionPolicy,
    kinds: Collection[str],
    protected: Mapping[str, str],
) -> PrunePlan:
    backups = repository.finder.list()
    needed = markers_needing(repository.marker_place, backups)
    why = dict.fromkeys(needed, "an unfinished migration needs it")
    return plan_prune(
        backups, policy, now=datetime.now(UTC), kinds=kinds, protected={**protected, **why}
    )


def prune_after(repository: Repository, info: BackupInfo, policy: RetentionPolicy) -> None:
    """Remove old backups after ``info``, which stays, was made; what fails is a warning.

    Only those of its kind go: who makes backups for a schedule must not lose those made by hand.
    """
    completion = Completion(f"The backup {info.filename} was created.")
    with completion.then("Old backups could not be removed"):
        prune_backups(
            repository, policy, kinds={info.kind}, protected={info.filename: "just taken"}
        )
    completion.log()
