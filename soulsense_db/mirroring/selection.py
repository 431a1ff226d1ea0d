"""Which local backups belong at a mirror, and what its policy says of all that there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from soulsense_db.backup_info import BackupInfo
from soulsense_db.mirrors import name_at_mirror, token_of
from soulsense_db.operations import Repository, plan_prune
from soulsense_db.retention import PruneReport, RetentionPolicy


def owed(
    local: Iterable[BackupInfo],
    there: Iterable[BackupInfo],
    policy: RetentionPolicy | None,
    repository: Repository,
) -> list[BackupInfo]:
    """Return those of ``local`` that a mirror lacks, oldest first.

    What its ``policy`` would remove at once, of all of this database that is here or ``there``, it
    does not lack.
    """
    stored = {token_of(info): info for info in there}
    missing = {token_of(info): info for info in local if token_of(info) not in stored}
    if policy is not None and missing:
        # Each with the name that it has there, for names tell them apart.
        named = (replace(info, path=name_at_mirror(info)) for info in missing.values())
        own, _ = parted(stored.values(), repository)
        kept = plan_for([*own, *named], policy).kept
        tokens = {token_of(decision.backup) for decision in kept}
        missing = {token: info for token, info in missing.items() if token in tokens}
    return sorted(missing.values(), key=lambda info: info.order)


def parted(
    backups: Iterable[BackupInfo], repository: Repository
) -> tuple[list[BackupInfo], list[BackupInfo]]:
    """Return those that may be of this database, and those of others."""
    own: list[BackupInfo] = []
    others: list[BackupInfo] = []
    for info in backups:
        (own if repository.finder.may_be_own(info) else others).append(info)
    return own, others


def plan_for(backups: Iterable[BackupInfo], policy: RetentionPolicy) -> PruneReport:
    """Return what ``policy`` says of ``backups``, now."""
    newest_first = sorted(backups, key=lambda info: info.order, reverse=True)
    return plan_prune(newest_first, policy, now=datetime.now(UTC)).report


def known(repository: Repository) -> list[BackupInfo]:
    """Return the local backups that belong at mirrors."""
    return belonging(repository.finder.list(), repository)


def belonging(backups: Iterable[BackupInfo], repository: Repository) -> list[BackupInfo]:
    """Return those of ``backups`` that belong at mirrors: of this database, with all their facts.

    Where new backups are encrypted, those that are not stay here: who encrypts them does so for the
    place where they lie.
    """
    own = own_of(backups)
    return [info for info in own if not is_open(info)] if repository.forms.encrypts else own


def own_of(backups: Iterable[BackupInfo]) -> list[BackupInfo]:
    """Return those of ``backups`` with all their facts, encrypted or not."""
    return [info for info in backups if info.sha256 is not None and not info.of_unknown_origin]


def is_open(info: BackupInfo) -> bool:
    """Whether it is not encrypted."""
    return not info.form.is_encrypted
