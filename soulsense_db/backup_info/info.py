"""One backup's facts, and the meta file that holds them.

A meta file is JSON in UTF-8, named like its backup with ``.meta`` appended::

    {"format": 1, "id": "9f1c...", "created_at": "2026-01-15T09:30:00.123456+00:00", ...,
     "meta_sha256": "..."}

``meta_sha256`` covers every other key, so that a damaged meta file is told from a good one. A meta
file that is not JSON is a description written by an older SoulSense.

Type, range and length of each fact are declared once, at its field of :class:`BackupInfo`, and are
checked whenever a meta file is read or written.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from msgspec import Meta

from soulsense_db.backup_info.errors import (
    meta_damaged,
    meta_unusable,
    meta_unwritable,
    newer_format,
    no_text,
    too_long,
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

META_FORMAT = 1
META_SUFFIX = ".meta"
# A meta file is read whole, so it has a limit; the longest one we write is far below it.
MAX_META_BYTES = 1024 * 1024
MAX_DESCRIPTION = 100_000
MAX_NOTE = 10_000
MAX_SHORT = 1_000
MAX_HEADS = 1_000

BackupKind = Literal["manual", "automatic", "pre_migration", "pre_restore", "imported"]
KINDS: tuple[str, ...] = get_args(BackupKind)

_ShortText = Annotated[
    str, Meta(max_length=MAX_SHORT, description=f"text of at most {MAX_SHORT:,} characters")
]
_LongText = Annotated[
    str,
    Meta(max_length=MAX_DESCRIPTION, description=f"text of at most {MAX_DESCRIPTION:,} characters"),
]
# As long as the longest path of any system.
_PathText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=32_767,
        pattern=r"\A[^\0]*\Z",
        description="a path of at most 32,767 characters",
    ),
]
_Moment = Annotated[
    datetime, Meta(tz=True, description="a date and time with its time zone, in ISO 8601")
]
_YesNo = Annotated[bool, Meta(description="true or false")]

_NEVER = datetime.min.replace(tzinfo=UTC)  # stands for a time that is not given

# What stands between the names of a path; `os`, which has it, is nothing for pure facts.
_SEPARATOR = str(Path("a", "b"))[1]
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupInfo:
    """The facts of one backup.

    ``path``: the data file, absolute; ``created_at``: aware, UTC, what the clock said;
    ``size_bytes`` and ``sha256``: of the stored file, ``sha256`` is None when no meta file told it;
    ``database``: name of the database it was taken from, None when unknown, with its absolute path
    and its path from the backup directory where it has a file; ``alembic_heads``: the
    revisions the database was at; ``target_revision``: where the migration after it was going;
    ``driver_facts``: what the driver noted of the source, by name; ``verified_at``: when it last
    passed a check (UTC), its own at creation included, None when it failed since or never did;
    ``pinned``: whether it is kept whatever a policy says, with ``pin_note`` for why;
    ``ordered_at``: what it is ordered by instead of ``created_at``, where the clock had been set
    back (aware, UTC; later than all backups that were there), else None;
    ``half_run``: whether it was taken while a migration was running or had died half-way;
    ``meta_problem``: why the meta file cannot be trusted, or empty; ``filename``: of ``path``,
    without its directory; ``timestamp``: ``created_at`` as naive local time, to compare with
    ``datetime.now()``.

    By hand it takes either ``created_at`` or, as in the guide, ``timestamp``::

        BackupInfo(path="/a/b.db", filename="b.db", timestamp=datetime.now(), size_bytes=500)

    Raises :class:`TypeError` without either.
    """

    id: Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9_-]{1,64}\Z",
            description="1 to 64 letters, digits, '-' or '_'",
        ),
    ] = ""
    path: str
    created_at: _Moment = _NEVER
    size_bytes: Annotated[
        int, Meta(ge=0, le=2**63 - 1, description="a whole number from 0 to 2^63 - 1")
    ]
    kind: Annotated[BackupKind, Meta(description=f"one of {', '.join(KINDS)}")] = "manual"
    description: _LongText = ""
    sha256: (
        Annotated[
            str, Meta(pattern=r"\A[0-9a-f]{64}\Z", description="64 hexadecimal digits, lower case")
        ]
        | None
    ) = None
    dialect: _ShortText | None = None
    database: _PathText | None = None
    database_path: _PathText | None = None
    database_relative: _PathText | None = None
    alembic_heads: Annotated[
        tuple[_ShortText, ...],
        Meta(
            max_length=MAX_HEADS,
            description=f"a list of at most {MAX_HEADS:,} texts, each of at most {MAX_SHORT:,} "
            "characters",
        ),
    ] = ()
    target_revision: (
        Annotated[
            str, Meta(max_length=MAX_NOTE, description=f"text of at most {MAX_NOTE:,} characters")
        ]
        | None
    ) = None
    duration_seconds: (
        Annotated[float, Meta(ge=0, le=1e12, description="a number of seconds, 0 or more")] | None
    ) = None
    driver_facts: Annotated[
        Mapping[_ShortText, _LongText],
        Meta(
            max_length=100,
            description=f"an object of at most 100 texts, each of at most {MAX_DESCRIPTION:,} "
            "characters",
        ),
    ] = field(default_factory=dict, hash=False)
    verified_at: _Moment | None = None
    pinned: _YesNo = False
    pin_note: Annotated[
        str, Meta(max_length=MAX_NOTE, description=f"text of at most {MAX_NOTE:,} characters")
    ] = ""
    ordered_at: _Moment | None = None
    half_run: _YesNo = False
    meta_problem: str = ""
    if TYPE_CHECKING:  # arguments as well, see _init_by_hand
        filename: str = ""
        timestamp: datetime = _NEVER
    else:

        @property
        def filename(self) -> str:
            """Name of the data file, without its directory."""
            # Ten times as fast as Path, and long lists ask.
            return self.path.rpartition(_SEPARATOR)[2]

        @property
        def timestamp(self) -> datetime:
            """When the backup was taken: naive local time, to compare with ``datetime.now()``."""
            return local_time(self.created_at)

    @property
    def meta_path(self) -> str:
        """Where the meta file is, or would be."""
        return self.path + META_SUFFIX

    @property
    def of_unknown_origin(self) -> bool:
        """Whether nothing that can be trusted says of which database it is a backup."""
        return bool(self.meta_problem) or not self.database

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """The sort key of every listing: the order of creation, whatever the clock did."""
        return self.ordered_at or self.created_at, self.created_at, self.filename

    @property
    def timestamp_display(self) -> str:
        """``timestamp`` as ``2026-01-15 10:30:00``."""
        return f"{self.timestamp:%Y-%m-%d %H:%M:%S}"

    @property
    def size_display(self) -> str:
        """``size_bytes`` as ``1.2 MB``, in steps of 1024."""
        return display_size(self.size_bytes)


_init = BackupInfo.__init__


def _init_by_hand(
    self: BackupInfo, *, filename: str = "", timestamp: datetime | None = None, **facts: Any
) -> None:
    """Take what the guide calls the facts, too: two of them are other facts in other words."""
    if "created_at" not in facts:
        if timestamp is None:
            raise TypeError("BackupInfo needs created_at or timestamp")
        facts["created_at"] = _in_utc(timestamp)
    filename = filename or str(facts.get("path", "")).rpartition(_SEPARATOR)[2]
    _init(self, **({"id": _id_of(filename)} | facts))


# Not in the class: there a dataclass would generate none to call.
BackupInfo.__init__ = _init_by_hand  # type: ignore[method-assign]


def local_time(moment: datetime) -> datetime:
    """Return the aware ``moment`` as naive local time."""
    try:
        return moment.astimezone().replace(tzinfo=None)
    except OverflowError:  # on the first or the last day of the calendar
        return moment.replace(tzinfo=None)


def _in_utc(moment: datetime) -> datetime:
    """Return ``moment``, local time where it is naive, in UTC."""
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):  # on the first or the last day of the calendar
        return moment.replace(tzinfo=UTC)


def _id_of(filename: str) -> str:
    """Return an id for a backup that no meta file gives one."""
    return "f" + hashlib.sha256(filename.encode(errors="surrogateescape")).hexdigest()[:11]


def display_size(size_bytes: int) -> str:
    """Return ``size_bytes`` in the largest unit that keeps it at 1 or more: ``1.2 MB``."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    power = min((size_bytes.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{size_bytes / 1024**power:.1f} {_UNITS[power]}"


def recordable_heads(heads: tuple[str, ...]) -> tuple[str, ...]:
    """Return what was found in a version table; nothing where no Alembic can have written it."""
    fits = len(heads) <= MAX_HEADS and all(len(head) <= MAX_SHORT for head in heads)
    return heads if fits else ()


def check_description(description: str) -> None:
    """Raise :class:`InvalidDescriptionError` for one that a meta file cannot hold."""
    _check_text(description, "description", MAX_DESCRIPTION)


def check_note(note: str) -> None:
    """Raise :class:`InvalidDescriptionError` for a pin's note that a meta file cannot hold."""
    _check_text(note, "note", MAX_NOTE)


def _check_text(text: str, what: str, limit: int) -> None:
    if len(text) > limit:
        raise too_long(what, len(text), limit)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise no_text(what) from None


# Facts that the place of the file tells, or that are only about reading it.
_NOT_STORED = {"path", "meta_problem"}
_STORED = tuple(f.name for f in fields(BackupInfo) if f.name not in _NOT_STORED)
# Facts of later versions of the format: a file without them is whole.
_ADDED = {"verified_at", "pinned", "pin_note", "ordered_at", "half_run"}
_REQUIRED = frozenset(_STORED) - _ADDED
_MOMENTS = ("created_at", "verified_at", "ordered_at")
# What a file system has a name for; its bytes need not be text.
_PATHS = {"database", "database_path", "database_relative"}
_SEAL = "meta_sha256"
_KNOWN = frozenset({"format", "filename", _SEAL, *_STORED})


def to_meta(info: BackupInfo, unknown: Mapping[str, Any] = MappingProxyType({})) -> bytes:
    """Return the contents of the meta file for ``info``.

    ``unknown``: facts of a newer version that stood in it, see :func:`unknown_facts`. Raises
    :class:`MetaFileError` for facts that no meta file can hold.
    """
    facts: dict[str, Any] = {"format": META_FORMAT, "filename": info.filename}
    facts |= {name: getattr(info, name) for name in _STORED}
    facts |= moments_of(info)
    facts["alembic_heads"] = list(info.alembic_heads)
    facts["driver_facts"] = dict(info.driver_facts)
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
        if (
            info.created_at.tzinfo is UTC
            and (info.verified_at is None or info.verified_at.tzinfo is UTC)
            and (info.ordered_at is None or info.ordered_at.tzinfo is UTC)
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
        id=_id_of(path.name),
        path=str(path),
        created_at=_time_in_name(path.name) or found_at,
        size_bytes=size_bytes,
        description=description,
        meta_problem=meta_problem,
    )


def _time_in_name(name: str) -> datetime | None:
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
