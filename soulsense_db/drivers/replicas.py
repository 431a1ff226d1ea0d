"""What is said of a replica that does not have all that its primary has."""

from __future__ import annotations

from soulsense_db.notices import warn


def warn_behind(name: str, why: str, *, last: str = "") -> None:
    """Warn that a backup of ``name`` has less than its primary; ``last``: up to when, if known."""
    has = f"what had been committed by {last}" if last else "what it has received and applied"
    warn(
        f"{name} is on a replica that is behind its primary: {why}. The backup holds {has}. Run "
        "backups where replication works, or on the primary."
    )
