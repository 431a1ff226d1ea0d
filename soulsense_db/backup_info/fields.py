"""Small files of facts, read strictly: JSON with a checksum, of declared types, ranges and lengths.

What a type declares with ``Annotated[..., msgspec.Meta(...)]`` is checked here and nowhere else:
whoever has an object of that type needs no check of its own. Each ``Meta`` carries a
``description``, which is what an error says that the fact must be.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

import msgspec

T = TypeVar("T")

MAX_NESTING = 32
"""How deep objects and lists may lie in each other in facts that this version does not know."""

_NOT_ASCII = re.compile(r"[^\x00-\x7e]")
_AT = re.compile(r"`\$\.(?P<name>\w+)|required field `(?P<missing>\w+)`")


class WrongFactError(ValueError):
    """A fact is not what its type declares; ``name`` of it, and ``wanted`` in plain words."""

    def __init__(self, name: str, wanted: str) -> None:
        super().__init__(name, wanted)
        self.name = name
        self.wanted = wanted

    def __str__(self) -> str:
        return f"its fact '{self.name}' is not {self.wanted}"


def read_json(data: bytes) -> Any:
    """Return the JSON in ``data``, without numbers that are none.

    Raises :class:`ValueError` for anything else and :class:`RecursionError` when it is nested too
    deep.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Bytes of a path that are no text stand in it as lone surrogates, which msgspec refuses.
        if b"\\ud" not in data.lower():
            raise
    return json.loads(data.decode(), parse_constant=_no_number, parse_float=_finite)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def digest_of(facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 over ``facts`` in the one form that the meta file's page describes."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def sealed(facts: Mapping[str, Any], seal: str) -> dict[str, Any]:
    """Return ``facts`` with their digest under the name ``seal``, as the last of them."""
    return {**facts, seal: digest_of(facts)}


def unsealed(facts: Mapping[str, Any], seal: str) -> dict[str, Any] | None:
    """Return ``facts`` without the digest under ``seal``, None where that is not theirs."""
    content = {name: value for name, value in facts.items() if name != seal}
    digest = facts.get(seal)
    if isinstance(digest, str) and (
        digest == _quick_digest_of(content) or digest == digest_of(content)
    ):
        return content
    return None


def _quick_digest_of(facts: Mapping[str, Any]) -> str | None:
    """Return what :func:`digest_of` does for nearly all facts, five times as fast.

    Some numbers are written differently, so that another digest says nothing.
    """
    try:
        canonical = msgspec.json.encode(facts, order="sorted")
    except (UnicodeEncodeError, msgspec.MsgspecError):
        return None
    if not canonical.isascii() or b"\x7f" in canonical:
        canonical = _NOT_ASCII.sub(_escaped, canonical.decode()).encode()
    return hashlib.sha256(canonical).hexdigest()


def _escaped(found: re.Match[str]) -> str:
    return _escape(found[0])


@functools.lru_cache(maxsize=1024)
def _escape(character: str) -> str:
    return json.dumps(character)[1:-1]


def checked(facts: Mapping[str, Any], wanted: type[T]) -> T:
    """Return ``facts`` as an object of the type ``wanted``; names it does not know are left out.

    Raises :class:`WrongFactError` for the first that is missing or not what the type declares.
    """
    try:
        return msgspec.convert(facts, wanted)
    except msgspec.ValidationError as error:
        found = _AT.search(str(error))
        name = (found["name"] or found["missing"]) if found else ""
        raise WrongFactError(name, wanted_of(wanted, name)) from None


def wanted_of(of: type, name: str) -> str:
    """Return in plain words what the type ``of`` declares for ``name``."""
    hint = get_type_hints(of, include_extras=True).get(name)
    words = _description(hint) or "what it must be"
    return f"{words} or null" if type(None) in get_args(hint) else words


def _description(hint: Any) -> str | None:
    for part in (*getattr(hint, "__metadata__", ()), *get_args(hint)):
        if isinstance(part, msgspec.Meta) and part.description:
            return part.description
        if found := _description(part):
            return found
    return None


def require_shallow(name: str, value: object, level: int = MAX_NESTING) -> None:
    """Raise :class:`WrongFactError` for a fact that is nested too deep to be written again."""
    if isinstance(value, (dict, list)):
        if level == 0:
            raise WrongFactError(name, f"nested at most {MAX_NESTING} deep")
        for inner in value.values() if isinstance(value, dict) else value:
            require_shallow(name, inner, level - 1)


def is_text(text: str, *, is_path: bool) -> bool:
    """Whether ``text`` is Unicode; ``is_path``: or the name of a file, whose bytes may be none."""
    try:
        text.encode(errors="surrogateescape" if is_path else "strict")
    except UnicodeEncodeError:
        return False
    return True
