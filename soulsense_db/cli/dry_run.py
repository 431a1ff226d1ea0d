"""What a dry run of a restore finds out beside what it shows: whether it would be refused."""

from __future__ import annotations

from soulsense_db.backup_info import BackupInfo
from soulsense_db.cli.session import Session
from soulsense_db.errors import UntrustedDirectoryError


def require_possible(session: Session, info: BackupInfo, *, trust_directory: bool) -> None:
    """Raise the first thing that a restore of ``info`` would raise here and now."""
    with session.progress("Verifying") as progress:
        check = session.manager.can_restore(info, progress=progress)
    for problem in check.problems:
        if not (trust_directory and isinstance(problem, UntrustedDirectoryError)):
            raise problem
