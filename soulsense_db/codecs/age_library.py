"""The optional libraries that age needs, imported when they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from soulsense_db.codecs.errors import extra_missing

if TYPE_CHECKING:
    import types

_WHAT = "Encryption with age"
_ISOLATES = {0x2068: None, 0x2069: None}  # which a translated message has around names


def require_age() -> None:
    """Raise :class:`~soulsense_db.errors.MissingExtraError` where there is no age."""
    pyrage()
    chacha20_poly1305()


def pyrage() -> types.ModuleType:
    """Return the library that knows age's keys and streams."""
    try:
        import pyrage
    except ImportError:
        raise extra_missing(_WHAT, "age") from None
    # Without the library, as in an environment without the extra, mypy knows no type of it.
    return pyrage  # type: ignore[no-any-return,unused-ignore]


def chacha20_poly1305() -> Any:
    """Return the cipher of age's format, for streams that are sealed with a passphrase."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    except ImportError:
        raise extra_missing(_WHAT, "age") from None
    return ChaCha20Poly1305


def reason_of(error: Exception) -> str:
    """Return what pyrage says, to stand in brackets."""
    return str(error).translate(_ISOLATES).partition("\n")[0].rstrip(".")
