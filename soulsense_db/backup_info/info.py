"""One backup's facts.

Type, range and length of each fact are declared once, at its field of :class:`BackupInfo`, and are
checked whenever a meta file is read or written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from msgspec import Meta

from soulsense_db.backup_info.errors import no_text, too_long
from soulsense_db.backup_info.form import Form

META_SUFFIX = ".meta"
MAX_DESCRIPTION = 100_000
MAX_NOTE = 10_000
MAX_SHORT = 1_000
MAX_HEADS = 1_000
# The longest description of four bytes a character, encrypted for some recipients, in Base64.
MAX_SEALED = 700_000
# What is recorded of the rows is read with every list of backups: a database of more tables than
# that, or of longer names, is not counted.
MAX_TABLES = 1_000
MAX_ROW_COUNTS = 64 * 1024

BackupKind = Literal["manual", "automatic", "pre_migration", "pre_restore", "imported"]
"""Why a backup was taken."""
KINDS: tuple[str, ...] = get_args(BackupKind)

DrillResult = Literal["passed", "failed"]
"""What came out of the last drill."""

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
_Sha256 = Annotated[
    str, Meta(pattern=r"\A[0-9a-f]{64}\Z", description="64 hexadecimal digits, lower case")
]
_YesNo = Annotated[bool, Meta(description="true or false")]
_Number = Annotated[int, Meta(ge=0, le=2**63 - 1, description="a whole number from 0 to 2^63 - 1")]

_NEVER = datetime.min.replace(tzinfo=UTC)  # stands for a time that is not given

# What stands between the names of a path; `os`, which has it, is nothing for pure facts.
_SEPARATOR = str(Path("a", "b"))[1]
# What a line of JSON has beside the name of the table.
_BYTES_OF_A_COUNT = 24
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupInfo:
    """The facts of one backup.

    Made by hand, as in the guide, it takes either ``created_at`` or ``timestamp``.

    Attributes:
        id: Names it in commands; 1 to 64 letters, digits, ``-`` or ``_``.
        path: The data file, absolute.
        created_at: When it was taken, as the clock said; aware, UTC.
        size_bytes: The size of the stored file.
        kind: Why it was taken: ``manual``, ``automatic``, ``pre_migration``, ``pre_restore`` or
            ``imported``.
        description: What a person calls it.
        sha256: The checksum of the stored file; None when no meta file has one.
        plain_size_bytes: The size of the database in a file that is not plain; else None.
        plain_sha256: The checksum of the database in a file that is not plain; else None.
        base_sha256: Of a differential, the checksum of the database in its base; else None.
        base_name: Of a differential, the file name of its base when it was taken; else None.
        sealed_description: Of an encrypted backup, the description as ``age`` encrypts it, in
            Base64; None where it has none, or shows it in ``description``.
        sealed_row_counts: Of an encrypted backup, ``row_counts`` as ``age`` encrypts them, in
            Base64; None where they are not recorded.
        recipients_sha256: Of an encrypted backup, a checksum that tells its recipients from others;
            else None.
        dialect: The dialect of the database, such as ``sqlite``.
        database: The name of the database that it was taken from; None when unknown.
        database_path: The absolute path of that database, where it has a file.
        database_relative: The path of that database from the backup directory, where it has a file.
        alembic_heads: The revisions that the database was at.
        target_revision: Where the migration after it was going.
        duration_seconds: How long it took to take it.
        driver_facts: What the driver noted of the database, by name.
        verified_at: When it last passed a check, that at its creation included (UTC). None when it
            has failed one since, or never passed one.
        pinned: Whether it is kept whatever a policy says.
        pin_note: Why it is pinned.
        ordered_at: The moment that it is ordered by instead of ``created_at``, where the clock had
            been set back: later than all backups that were there; aware, UTC. Else None.
        half_run: Whether it was taken while a migration was running or had died half-way.
        row_counts: How many rows each table had when it was taken; None where that was not
            recorded, and of an encrypted backup.
        broken_references: How many rows referred to rows that do not exist when it first passed a
            full check; None before that.
        drilled_at: When it was last drilled, whatever came of it (UTC); else None.
        drill_result: ``passed`` or ``failed``; None where it was never drilled.
        drill_revision: The Alembic revision that the last drill migrated its data to, of several
            separated by commas; None where it did not.
        meta_problem: Why the meta file cannot be trusted; empty when it can.
        filename: The name of the data file, without its directory.
        timestamp: ``created_at`` as naive local time, to compare with ``datetime.now()``.

    Raises:
        TypeError: Neither ``created_at`` nor ``timestamp`` was given.

    Example:
        >>> from datetime import datetime
        >>> taken = datetime(2026, 1, 15, 10, 30)
        >>> info = BackupInfo(path="/a/b.db", timestamp=taken, size_bytes=500)
        >>> info.filename, info.timestamp_display, info.size_display
        ('b.db', '2026-01-15 10:30:00', '500 B')
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
    sha256: _Sha256 | None = None
    plain_size_bytes: (
        Annotated[int, Meta(ge=0, le=2**63 - 1, description="a whole number from 0 to 2^63 - 1")]
        | None
    ) = None
    plain_sha256: _Sha256 | None = None
    base_sha256: _Sha256 | None = None
    base_name: _PathText | None = None
    sealed_description: (
        Annotated[
            str,
            Meta(
                max_length=MAX_SEALED,
                pattern=r"\A[A-Za-z0-9+/=]+\Z",
                description=f"Base64 of at most {MAX_SEALED:,} characters",
            ),
        ]
        | None
    ) = None
    sealed_row_counts: (
        Annotated[
            str,
            Meta(
                max_length=2 * MAX_ROW_COUNTS,
                pattern=r"\A[A-Za-z0-9+/=]+\Z",
                description=f"Base64 of at most {2 * MAX_ROW_COUNTS:,} characters",
            ),
        ]
        | None
    ) = None
    recipients_sha256: _Sha256 | None = None
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
    row_counts: (
        Annotated[
            Mapping[_ShortText, _Number],
            Meta(
                max_length=MAX_TABLES,
                description=f"an object of at most {MAX_TABLES:,} numbers of rows",
            ),
        ]
        | None
    ) = field(default=None, hash=False)
    broken_references: _Number | None = None
    drilled_at: _Moment | None = None
    drill_result: Annotated[DrillResult, Meta(description="one of passed, failed")] | None = None
    drill_revision: (
        Annotated[
            str, Meta(max_length=MAX_NOTE, description=f"text of at most {MAX_NOTE:,} characters")
        ]
        | None
    ) = None
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
    def form(self) -> Form:
        """The form that it is stored in, as its name says."""
        return Form.of(self.path)

    @property
    def is_plain(self) -> bool:
        """Whether the stored file is a database file, as its name says."""
        return self.form.is_plain

    @property
    def database_sha256(self) -> str | None:
        """The checksum of the database in it, in whatever form; None where that is not known."""
        return self.sha256 if self.is_plain else self.plain_sha256

    @property
    def restored_size_bytes(self) -> int:
        """How many bytes a restore writes; those of the stored file where that is not known."""
        return self.size_bytes if self.plain_size_bytes is None else self.plain_size_bytes

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


def recordable_row_counts(counts: Mapping[str, int] | None) -> dict[str, int] | None:
    """Return how many rows each table has; None where a meta file would be too long for that."""
    if counts is None or len(counts) > MAX_TABLES:
        return None
    try:
        size = sum(len(table.encode()) + _BYTES_OF_A_COUNT for table in counts)
    except UnicodeEncodeError:  # a name that is no text
        return None
    too_long = size > MAX_ROW_COUNTS or any(len(table) > MAX_SHORT for table in counts)
    return None if too_long else dict(counts)


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
