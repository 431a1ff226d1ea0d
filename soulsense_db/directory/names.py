"""The file names of backups, such as ``soulsense_backup_20240129_143052_weekly_backup.db``."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime

from soulsense_db.backup_info import FORMS, local_time

NAME_CHARACTERS = 30
"""How many characters of its description are in the name of a backup."""
# With time, 30 characters of 4 bytes, number and endings a name stays below 255 bytes.
_PREFIX_BYTES = 60


def require_prefix(prefix: str) -> None:
    """Raise :class:`ValueError` for what cannot begin a name."""
    if not re.fullmatch(r"\w[\w.-]*", prefix) or len(prefix.encode()) > _PREFIX_BYTES:
        raise ValueError(
            f"prefix must be letters, digits, '_', '-' or '.', {_PREFIX_BYTES} bytes at most, "
            f"not {prefix!r}"
        )


def name_pattern(prefix: str, suffix: str) -> re.Pattern[str]:
    """Return what matches the whole name of a backup, in any form."""
    # With the time in it, no name of prefix 'a' is one of prefix 'a_b'.
    endings = "|".join(re.escape(form.ending) for form in FORMS)
    return re.compile(
        rf"{re.escape(prefix)}_\d{{8}}_\d{{6}}(_.*)?{re.escape(suffix)}({endings})", re.DOTALL
    )


def stem_of(prefix: str, created_at: datetime, description: str) -> str:
    """Return the beginning of the name of a new backup."""
    local = local_time(created_at)
    # %Y of the year 9 is one digit on some systems.
    stem = f"{prefix}_{local.year:04}{local:%m%d_%H%M%S}"
    safe = safe_name(description)
    return f"{stem}_{safe}" if safe else stem


def safe_name(description: str) -> str:
    """Return the part of a file name that stands for ``description``; may be empty.

    Its first 30 characters as they were typed, every run of other than letters, digits and ``-`` as
    one ``_``.
    """
    # Composed letters, so that the 30 characters are what a person counts.
    text = unicodedata.normalize("NFC", description)[:NAME_CHARACTERS]
    return re.sub(r"[^\w-]+|_+", "_", text)[:NAME_CHARACTERS].strip("_-")


def folded(name: str) -> str:
    """Return what is the same for two names that some file systems take for one."""
    return unicodedata.normalize("NFC", name).casefold()
