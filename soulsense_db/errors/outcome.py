"""What a failed operation did to the data: the live database, the backups and their meta files."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What a failed operation did to the data."""

    UNCHANGED = "unchanged"
    """All is what it was before the operation."""
    DONE = "done"
    """What was asked for was done; what failed came after it."""
    PARTLY = "partly"
    """Of several things that were asked for, some were done."""
    PUT_BACK = "put_back"
    """The live database was replaced, and is again what it was before."""
    UNSURE = "unsure"
    """It is what it was, or what it was to become; a power cut may still decide that."""
    HALF_RUN = "half_run"
    """A migration died: some of its steps are in the live database."""
    BROKEN = "broken"
    """The live database is not in its place, or it was replaced and fails its check."""

    @property
    def sentence(self) -> str:
        """What it means, for a person."""
        return _SENTENCES[self]

    @property
    def is_certain(self) -> bool:
        """Whether the live database is for sure in a state that can be worked with."""
        return self not in _NEEDING_A_WAY_BACK


_SENTENCES: Final = {
    Outcome.UNCHANGED: "Nothing was changed.",
    Outcome.DONE: "The operation was completed.",
    Outcome.PARTLY: "It was only partly completed.",
    Outcome.PUT_BACK: "The previous database was put back.",
    Outcome.UNSURE: "It is not certain whether the change was saved.",
    Outcome.HALF_RUN: "The database may be half migrated.",
    Outcome.BROKEN: "The live database is not usable.",
}
_NEEDING_A_WAY_BACK = {Outcome.UNSURE, Outcome.HALF_RUN, Outcome.BROKEN}

WAY_BACK: Final = "The previous database is in {backup}."
"""Follows the sentence of an outcome that is not certain, where a copy of the database is known."""
