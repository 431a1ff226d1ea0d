"""How new backups are compressed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

from soulsense_db.codecs.zstandard import DEFAULT_LEVEL, require_level
from soulsense_db.errors import OptionError

_FORM = re.compile(r"(?P<method>\w+)(?::(?P<level>\d{1,4}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """A method with its level.

    Attributes:
        method: ``zstd``.
        level: 1 to 19; a higher one is slower and makes smaller files.
        threads: How many compress at a time; None for one for each core, four at most.

    Raises:
        OptionError: There is no such method or level.

    Example:
        >>> Compression(level=9).text
        'zstd:9'
    """

    method: Literal["zstd"] = "zstd"
    level: int = DEFAULT_LEVEL
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.method != "zstd":
            raise _unknown(self.method)
        require_level(self.level)
        if self.threads is not None and (type(self.threads) is not int or self.threads < 1):
            raise OptionError(
                f"{self.threads!r} is not a number of threads.",
                hint="Give 1 or more, or leave it out.",
            )

    @classmethod
    def of(cls, given: Compression | str | None) -> Self | Compression | None:
        """Return what ``given`` means; None for none.

        Args:
            given: ``zstd``, ``zstd:9`` or ``none``, as an option has it; or one already.

        Returns:
            The compression; None where there is to be none.

        Raises:
            OptionError: It means nothing.

        Example:
            >>> Compression.of("zstd").level, Compression.of("none")
            (3, None)
        """
        if given is None or isinstance(given, Compression):
            return given
        text = given.strip().lower()
        if text in {"", "none"}:
            return None
        found = _FORM.fullmatch(text)
        if found is None or found["method"] != "zstd":
            raise _unknown(given)
        return cls(level=int(found["level"] or DEFAULT_LEVEL))

    @property
    def text(self) -> str:
        """What :meth:`of` reads, without the number of threads."""
        return f"{self.method}:{self.level}"


def _unknown(given: str) -> OptionError:
    return OptionError(
        f"The compression {given!r} does not exist.", hint="Give zstd, zstd:LEVEL or none."
    )
