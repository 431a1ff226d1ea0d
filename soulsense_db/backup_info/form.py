"""The form that a backup is stored in, as its file name says it."""

from __future__ import annotations

from dataclasses import dataclass

# What follows the ending of a database file in a name; the last one follows both others too.
_ZSTD, _DIFFERENTIAL, _AGE = ".zst", ".diff", ".age"


@dataclass(frozen=True, slots=True)
class Form:
    """What was done to a database when it was stored as a backup; to a plain one, nothing.

    Attributes:
        is_compressed: Whether it is compressed as a whole.
        is_differential: Whether it holds only what differs from its base.
        is_encrypted: Whether it is encrypted, after either.

    Example:
        >>> Form.of("app.db.zst.age").text
        'zstd, encrypted'
    """

    is_compressed: bool = False
    is_differential: bool = False
    is_encrypted: bool = False

    @classmethod
    def of(cls, name: str) -> Form:
        """Return the form of the file ``name``."""
        inner = name.removesuffix(_AGE)
        return cls(
            is_compressed=inner.endswith(_ZSTD),
            is_differential=inner.endswith(_DIFFERENTIAL),
            is_encrypted=inner != name,
        )

    @property
    def is_plain(self) -> bool:
        """Whether the file is the database itself."""
        return not (self.is_compressed or self.is_differential or self.is_encrypted)

    @property
    def ending(self) -> str:
        """What follows the ending of a database file in the name."""
        inner = _ZSTD if self.is_compressed else ""
        inner = _DIFFERENTIAL if self.is_differential else inner
        return inner + (_AGE if self.is_encrypted else "")

    @property
    def text(self) -> str:
        """The form in words: ``plain``, ``zstd``, ``differential``, ``zstd, encrypted``."""
        words = []
        if self.is_compressed:
            words.append("zstd")
        if self.is_differential:
            words.append("differential")
        if self.is_encrypted:
            words.append("encrypted")
        return ", ".join(words) or "plain"


FORMS = tuple(
    Form(is_compressed=compressed, is_differential=differential, is_encrypted=encrypted)
    for compressed, differential in ((False, False), (True, False), (False, True))
    for encrypted in (False, True)
)
"""All there are."""


def plain_name(name: str) -> str:
    """Return the file ``name`` without what tells its form."""
    return name.removesuffix(Form.of(name).ending)
