"""What is wrong with an option of a file or of the environment, as errors of the tree."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from soulsense_db.errors import OptionError


def wrong_value(name: str, value: str, allowed: str) -> OptionError:
    """Return the error for an option with a value that means nothing; ``allowed``: which do."""
    return OptionError(f"{name} is '{value}'.", hint=f"Set it to {allowed}.")


def unknown_option(name: str, known: Collection[str], *, table: str = "") -> OptionError:
    """Return the error for a name that is no option, of the TOML ``table`` if one is given."""
    near = get_close_matches(name, sorted(known), n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return OptionError(
        f"There is no option '{name}'{f' for [{table}]' if table else ''}.",
        hint=f"{meant}The options are: {', '.join(sorted(known))}.",
    )
