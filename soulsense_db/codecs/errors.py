"""What is wrong with a stream, in words that the caller makes an error of the tree of."""

from __future__ import annotations

from soulsense_db.errors import MissingExtraError


class StreamError(Exception):
    """A stream cannot be decoded; the message is a clause that says why."""


class TruncatedStreamError(StreamError):
    """It ends before its end."""


class DamagedStreamError(StreamError):
    """It is not what was encoded, or nothing of this form at all."""


class TooLongError(StreamError):
    """There is more in it than there may be."""


class WrongBaseError(StreamError):
    """It is a differential, and what was given as its base is not, or is no more, that base."""


class NewerStreamError(StreamError):
    """It is of a newer format than those that are known here."""


def extra_missing(what: str, extra: str) -> MissingExtraError:
    """Return the error for an optional library that is not installed; ``what`` needs it."""
    return MissingExtraError(
        f"{what} needs an optional library, which is not installed.",
        hint=f'Install it: python3 -m pip install "soulsense-db[{extra}]"',
    )
