"""The language of the window: gettext, with what the application or the environment says.

Texts are marked with ``N_`` (``NN_`` for one that counts) and translated where they are shown, with
:func:`_` and :func:`plural`. A translation is ``locale/<language>/LC_MESSAGES/soulsense_db.mo`` or
what the application gives to :func:`use_translation`.
"""

from __future__ import annotations

import gettext
from pathlib import Path

DOMAIN = "soulsense_db"
LOCALE = Path(__file__).parent / "locale"

Plural = tuple[str, str]


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark ``text`` for translation."""
    return text


def NN_(one: str, many: str) -> Plural:  # noqa: N802 - gettext's own name for it
    """Mark a text that counts ``{count}`` things."""
    return one, many


_translation: gettext.NullTranslations | None = None


def use_translation(translation: gettext.NullTranslations | None) -> None:
    """Show the window's texts in another language.

    Args:
        translation: The translated texts. None selects the language of the environment.

    Example:
        >>> import gettext
        >>> use_translation(gettext.translation("soulsense_db", "locale", fallback=True))
        >>> use_translation(None)
    """
    global _translation  # noqa: PLW0603 - one language for all windows, as gettext has it
    _translation = translation


def _current() -> gettext.NullTranslations:
    global _translation  # noqa: PLW0603 - see use_translation
    if _translation is None:
        _translation = gettext.translation(DOMAIN, LOCALE, fallback=True)
    return _translation


def _(text: str) -> str:
    """Return ``text`` in the language of the user."""
    return _current().gettext(text)


def plural(texts: Plural, count: int, **names: str) -> str:
    """Return the form for ``count``, with the number and ``names`` filled in."""
    return _current().ngettext(*texts, count).format(count=f"{count:,}", **names)
