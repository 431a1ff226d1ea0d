"""The meta file of a backup: how its facts are written down, and read strictly.

A meta file is JSON in UTF-8, named like its backup with ``.meta`` appended::

    {"format": 1, "id": "9f1c...", "created_at": "2026-01-15T09:30:00.123456+00:00", ...,
     "meta_sha256": "..."}

``meta_sha256`` covers every other key, so that a damaged meta file is told from a good one. A meta
file that is not JSON is a description written by an older SoulSense.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from soulsense_db.backup_info.errors import (
    meta_damaged,
    meta_unusable,
    meta_unwritable,
    newer_format,
)
from soulsense_db.backup_info.fields import (
    WrongFactError,
    checked,
    is_text,
    read_json,
    require_shallow,
    sealed,
    unsealed,
)
from soulsense_db.backup_info.form import Form
from soulsense_db.backup_info.info import MAX_DESCRIPTION, META_SUFFIX, BackupInfo

META_FORMAT = 3
"""The newest that is read. What is written is the oldest that has the facts of the form."""
# A meta file is read whole, so it has a limit; the longest one we write is far below it.
MAX_META_BYTES = 1024 * 1024

# Facts that the place of the file tells, or that are only about reading it.
_NOT_STORED = {"path", "meta_problem"}
_STORED = tuple(f.name for f in fields(BackupInfo) if f.name not in _NOT_STORED)
# Facts of later versions of the format: a file without them is whole.
_ADDED = {"verified_at", "pinned", "pin_note", "ordered_at", "half_run"}
_ADDED |= {"row_counts", "broken_references", "drilled_at", "drill_result", "drill_revision"}
_OF_ENCODED = {"plain_size_bytes", "plain_sha256"}
_OF_DIFFERENTIAL = {"base_sha256", "base_name"}
_OF_ENCRYPTED = {"sealed_description", "sealed_row_counts", "recipients_sha256"}
_OF_FORMS = _OF_ENCODED | _OF_DIFFERENTIAL | _OF_ENCRYPTED
_REQUIRED = frozenset(_STORED) - _ADDED - _OF_FORMS
_MOMENTS = ("created_at", "verified_at", "ordered_at", "drilled_at")
# What a file system has a name for; its bytes need not be text.
_PATHS = {"database", "database_path", "database_relative", "base_name"}
_SEAL = "meta_sha256"
_KNOWN = frozenset({"format", "filename", _SEAL, *_STORED})


def to_meta(info: BackupInfo, unknown: Mapping[str, Any] = MappingProxyType({})) -> bytes:
    """Return the contents of the meta file for ``info``.

    ``unknown``: facts of a newer version that stood in it, see :func:`unknown_facts`. Raises
    :class:`MetaFileError` for facts that no meta file can hold.
    """
    version, of_form = _written_for(info.form)
    facts: dict[str, Any] = {"format": version, "filename": info.filename}
    left_out = _OF_FORMS - of_form
    facts |= {name: getattr(info, name) for name in _STORED if name not in left_out}
    facts |= moments_of(info)
    facts["alembic_heads"] = list(info.alembic_heads)
    facts["driver_facts"] = dict(info.driver_facts)
    facts["row_counts"] = None if info.row_counts is None else dict(info.row_counts)
    try:
        checked({**facts, "path": info.path}, BackupInfo)
        _require_text(facts)
    except WrongFactError as error:
        raise meta_unwritable(Path(info.meta_path), str(error)) from None
    facts |= {name: value for name, value in unknown.items() if name not in _KNOWN}
    text = json.dumps(sealed(facts, _SEAL), indent=2, ensure_ascii=False) + "\n"
    # A path may hold bytes that are no text: they become escapes of JSON.
    data = text.encode(errors="backslashreplace")
    if len(data) > MAX_META_BYTES:
        raise meta_unwritable(Path(info.meta_path), f"it would have {len(data):,} bytes")
    return data


def _written_for(form: Form) -> tuple[int, set[str]]:
    """Return the format of the meta file of such a backup, and the facts that only it has."""
    if form.is_plain:
        return 1, set()
    if not form.is_differential and not form.is_encrypted:
        return 2, _OF_ENCODED
    names = set(_OF_ENCODED)
    if form.is_differential:
        names |= _OF_DIFFERENTIAL
    if form.is_encrypted:
        names |= _OF_ENCRYPTED
    return META_FORMAT, names


def moments_of(info: BackupInfo) -> dict[str, str | None]:
    """Return the times among the facts of ``info`` as ISO 8601."""
    moments = {name: getattr(info, name) for name in _MOMENTS}
    return {name: moment.isoformat() if moment else None for name, moment in moments.items()}


def from_meta(data: bytes, path: Path, *, size_bytes: int, found_at: datetime) -> BackupInfo:
    """Read the meta file contents ``data`` of the backup ``path``.

    ``size_bytes`` of the data file and ``found_at`` stand in where an older SoulSense wrote only a
    description. Raises errors as :func:`read_meta`.
    """
    found = read_meta(data, path)
    if isinstance(found, BackupInfo):
        return found
    return without_meta(path, size_bytes=size_bytes, found_at=found_at, description=found)


def read_meta(data: bytes, path: str | Path) -> BackupInfo | str:
    """Return what the meta file contents ``data`` tell of the backup ``path``.

    A text is the description that an older SoulSense wrote, and nothing else. Raises
    :class:`MetaFileError` when it is damaged or a fact in it is not what it must be,
    :class:`NewerFormatError` when a newer version wrote it.
    """
    try:
        facts = _facts_in(data, path)
        if facts is not None:
            return _build(facts, str(path), may_be_no_text=b"\\ud" in data.lower())
        description = data.decode().strip()
    except UnicodeDecodeError:
        raise meta_damaged(_meta_of(path), "it is not text") from None
    except RecursionError:
        raise meta_damaged(_meta_of(path), "it is nested too deep") from None
    if len(description) > MAX_DESCRIPTION:
        raise meta_damaged(_meta_of(path), "it is far too long for a description")
    return description


def unknown_facts(data: bytes) -> dict[str, Any]:
    """Return the facts in a meta file that :func:`from_meta` reads and this version does not know.

    They are a newer version's, and stay in the file when it is written again.
    """
    try:
        facts = read_json(data)
    except ValueError:
        return {}
    return {n: fact for n, fact in facts.items() if n not in _KNOWN} if type(facts) is dict else {}


def _facts_in(data: bytes, path: str | Path) -> dict[str, Any] | None:
    """Return the facts in ``data``; None for a description that an older SoulSense wrote."""
    try:
        facts = read_json(data)
    except ValueError:
        if _is_old_description(data.decode()):
            return None
        raise meta_damaged(_meta_of(path), "it is not complete") from None
    if not isinstance(facts, dict):
        if _is_old_description(data.decode()):
            return None
        raise meta_damaged(_meta_of(path), "it holds no facts")
    version = facts.get("format")
    if type(version) is int and version > META_FORMAT:
        raise newer_format(_meta_of(path), version, META_FORMAT)
    content = unsealed(facts, _SEAL)
    if content is None:
        raise meta_damaged(_meta_of(path), "its own checksum does not match")
    if type(version) is not int or version < 1:
        raise meta_unusable(_meta_of(path), "its fact 'format' is not a whole number from 1")
    return content


def _build(facts: dict[str, Any], path: str, *, may_be_no_text: bool) -> BackupInfo:
    try:
        if not facts.keys() >= _REQUIRED:
            raise WrongFactError(min(_REQUIRED - facts.keys()), "there")
        for name in facts.keys() - _KNOWN:
            require_shallow(name, facts[name])
        if may_be_no_text:
            _require_text(facts)
        facts["path"], facts["meta_problem"] = path, ""
        info = checked(facts, BackupInfo)
        if foreign := _OF_FORMS & facts.keys() - _written_for(info.form)[1]:
            none: dict[str, Any] = dict.fromkeys(foreign)
            info = replace(info, **none)  # they say nothing of such a file
        if (
            info.created_at.tzinfo is UTC
            and (info.verified_at is None or info.verified_at.tzinfo is UTC)
            and (info.ordered_at is None or info.ordered_at.tzinfo is UTC)
            and (info.drilled_at is None or info.drilled_at.tzinfo is UTC)
        ):
            return info
        moments: dict[str, Any] = {name: _moment_in_utc(info, name) for name in _MOMENTS}
        return replace(info, **moments)
    except WrongFactError as error:
        raise meta_unusable(_meta_of(path), str(error)) from None


def _moment_in_utc(info: BackupInfo, name: str) -> datetime | None:
    moment: datetime | None = getattr(info, name)
    try:
        return moment and moment.astimezone(UTC)
    except OverflowError:
        raise WrongFactError(name, "a time of the calendar in UTC") from None


def _require_text(facts: Mapping[str, Any]) -> None:
    """Raise :class:`WrongFactError` for a fact that is no text, though it is a ``str``."""
    for name in _STORED:
        for text in _texts_in(facts.get(name)):
            if not is_text(text, is_path=name in _PATHS):
                raise WrongFactError(name, "text (it has lone surrogates)")


def _texts_in(fact: object) -> Iterator[str]:
    if isinstance(fact, str):
        yield fact
    elif isinstance(fact, dict):
        yield from (text for text in (*fact, *fact.values()) if isinstance(text, str))
    elif isinstance(fact, list):
        yield from (text for text in fact if isinstance(text, str))


def without_meta(
    path: Path,
    *,
    size_bytes: int,
    found_at: datetime,
    description: str = "",
    meta_problem: str = "",
) -> BackupInfo:
    """Return what can be told of a backup from its name and size alone.

    The time comes from the ``YYYYMMDD_HHMMSS`` in the name (local time), else it is ``found_at``.
    """
    return BackupInfo(
        path=str(path),
        created_at=time_in_name(path.name) or found_at,
        size_bytes=size_bytes,
        description=description,
        meta_problem=meta_problem,
    )


def time_in_name(name: str) -> datetime | None:
    """Return the ``YYYYMMDD_HHMMSS`` in the name of a file, which is local time; None without."""
    found = re.search(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)", name)
    if not found:
        return None
    try:
        return datetime(*map(int, found.groups())).astimezone(UTC)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None


def _is_old_description(text: str) -> bool:
    """Whether ``text`` can be a line that a person typed, and no remains of a meta file of ours."""
    ours = '"format"' in text or '"meta_sha256"' in text or text.lstrip().startswith("{")
    return bool(text.strip()) and not ours and not any(map(_is_control, text))


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" and not character.isspace()


def _meta_of(path: str | Path) -> Path:
    return Path(f"{path}{META_SUFFIX}")
