"""What no driver can be found for, or no engine made of, as errors of the tree."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from soulsense_db.errors import OptionError, RowsRefusedError, UnsupportedDatabaseError

_MOST_NAMES = 20
_HOW_TO_WRITE_IT = (
    "Write it like sqlite:///data/soulsense.db or postgresql://user:password@host/name, or give a "
    "file's path. A port is a number. Special characters of a password are written as %40 for @, "
    "%2F for /, %25 for %."
)


def no_url() -> UnsupportedDatabaseError:
    """Return the error for what is no URL; it is not repeated, as it may hold a password."""
    return UnsupportedDatabaseError("That is not a database URL.", hint=_HOW_TO_WRITE_IT)


def nul_in_url() -> UnsupportedDatabaseError:
    """Return the error for a URL that is cut off by the system where it has a NUL."""
    return UnsupportedDatabaseError(
        "That is not a database URL: it contains a NUL character.", hint=_HOW_TO_WRITE_IT
    )


def other_library(
    drivername: str, dialect: str, supported: Collection[str]
) -> UnsupportedDatabaseError:
    """Return the error for a URL whose Python driver is not one of the ``supported`` ones."""
    names = ", ".join(f"{dialect}+{driver}" for driver in sorted(supported))
    return UnsupportedDatabaseError(
        f"Databases opened with '{drivername}' cannot be backed up: that library is not "
        "known here.",
        hint=f"Supported: {dialect}, {names}.",
    )


def host_in_url(dialect: str) -> UnsupportedDatabaseError:
    """Return the error for a URL with a host, of a database that is a file."""
    return UnsupportedDatabaseError(
        f"With two slashes, that database URL names a server, and {dialect} has none.",
        hint=f"Write three slashes before a relative path, four before an absolute one: "
        f"{dialect}:///app.db, {dialect}:////srv/app/app.db",
    )


def no_engine(reason: str) -> UnsupportedDatabaseError:
    """Return the error for a URL that SQLAlchemy makes no engine of."""
    return UnsupportedDatabaseError(
        f"No engine can be created from that database URL ({reason}).",
        hint="Install the driver that the URL names, name one that is installed, or correct the "
        "URL; a relative path of a file needs a current directory that exists.",
        reason=reason,
    )


def no_driver(dialect: str, known: Collection[str]) -> UnsupportedDatabaseError:
    """Return the error for a dialect that no driver is for."""
    written = {"postgres": "postgresql"}.get(dialect)  # as some hosting services write it
    instead = f"Write {written}:// instead of {dialect}://. " if written else ""
    return UnsupportedDatabaseError(
        f"Databases of dialect '{dialect}' cannot be backed up.",
        hint=f"{instead}Supported: {', '.join(known)}.",
    )


def no_rehearsal(dialect: str) -> UnsupportedDatabaseError:
    """Return the error for a dialect whose driver knows nothing of rehearsals."""
    return UnsupportedDatabaseError(
        f"Migrations of a database of dialect '{dialect}' cannot run on a copy.",
        hint="Restore a backup to a database or server for tests, and run the migrations there.",
    )


def not_loaded(driver: str, dialect: str, reason: str) -> UnsupportedDatabaseError:
    """Return the error for another package's driver that cannot be imported."""
    return UnsupportedDatabaseError(
        f"The driver {driver} for dialect '{dialect}' cannot be loaded ({reason}).",
        hint="Install what it needs, or remove the package that provides it.",
        reason=reason,
    )


def not_one_of_ours(driver: str, dialect: str) -> UnsupportedDatabaseError:
    """Return the error for another package's entry point that leads to something else."""
    return UnsupportedDatabaseError(
        f"{driver}, the driver for dialect '{dialect}', is not a soulsense_db.drivers.Driver.",
        hint="Correct the entry point of the package that provides it.",
    )


def no_single_rows(dialect: str) -> UnsupportedDatabaseError:
    """Return the error for a driver that brings back only whole databases."""
    return UnsupportedDatabaseError(
        f"Single rows cannot be brought back into databases of dialect '{dialect}'.",
        hint="Restore the whole backup.",
    )


def chosen_twice() -> OptionError:
    """Return the error for rows that are chosen by a condition and by their keys as well."""
    return OptionError(
        "The rows are chosen by both where and keys.",
        hint="Give one of them, or none for all rows.",
    )


def no_list_of_keys(given: str | bytes) -> OptionError:
    """Return the error for one key in the place of a list of them."""
    return OptionError(
        f"keys is {given!r}, and not a list of keys.", hint=f"Write keys=[{given!r}]."
    )


def parents_missing(
    listed: Sequence[str], more: int, *, can_come: bool, differ: bool
) -> RowsRefusedError:
    """Return the error for rows that would refer to rows that are gone; ``more`` are not listed."""
    others = f", and {more:,} more" if more else ""
    hint = "The backup does not have all of them either. Look into an earlier backup."
    if can_come:
        options = "--with-parents --replace" if differ else "--with-parents"
        hint = f"To bring these rows back as well, add {options}."
    return RowsRefusedError(
        f"The rows refer to rows that are gone: {'; '.join(listed)}{others}.",
        hint=hint,
        candidates=listed,
    )


def no_diff(dialect: str) -> UnsupportedDatabaseError:
    """Return the error for a driver that does not tell what differs between two databases."""
    return UnsupportedDatabaseError(
        f"The driver for {dialect} cannot tell what differs between two databases.",
        hint="Ask whoever wrote the driver for its method diff.",
    )


def no_such_tables(unknown: Sequence[str], names: Sequence[str]) -> OptionError:
    """Return the error for tables that neither database has; ``names``: those there are."""
    folded = {name.lower(): name for name in names}
    close = [
        folded[found] for one in unknown for found in get_close_matches(one.lower(), folded, n=1)
    ]
    hint = f"There are: {', '.join(names[:_MOST_NAMES])}{', ...' if names[_MOST_NAMES:] else ''}."
    if close:
        hint = f"Is this what you mean: {', '.join(close)}?"
    elif not names:
        hint = "Neither has any."
    return OptionError(f"Neither database has a table {', '.join(unknown)}.", hint=hint)
