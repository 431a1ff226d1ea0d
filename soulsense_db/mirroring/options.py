"""The options about mirrors: where they are, and what they keep."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from soulsense_db.errors import OptionError
from soulsense_db.mirroring.errors import mirror_of_same_place, no_deadline, twice
from soulsense_db.mirrors import MirrorRecord, MirrorUrl, folder_for, require_folder, require_kind
from soulsense_db.retention import RetentionPolicy

DEADLINE_SECONDS = 600.0
"""How long a caller waits for mirrors at most, unless it is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorTarget:
    """A mirror with a retention policy of its own.

    Attributes:
        url: Such as ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``,
            ``sftp://user@host/path``, ``file:///mnt/usb/soulsense``. No secret is in it.
        retention: What the mirror keeps; None keeps all that ever came there.

    Raises:
        OptionError: It is no URL of a mirror, or a secret is in it.

    Example:
        >>> policy = RetentionPolicy(keep_daily=90, keep_monthly=24)
        >>> MirrorTarget(url="s3://my-bucket/soulsense", retention=policy).address
        's3://my-bucket/soulsense'
    """

    url: str
    retention: RetentionPolicy | None = None

    def __post_init__(self) -> None:
        require_kind(self.parsed)

    @property
    def parsed(self) -> MirrorUrl:
        """The URL, taken apart."""
        return MirrorUrl.of(self.url)

    @property
    def address(self) -> str:
        """The URL as it is shown, and as the record of what is there calls it."""
        return str(self.parsed)


MirrorsOption = Iterable[MirrorTarget | str] | str
"""URLs, or URLs with a policy of their own; one URL alone will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """The options of a manager about mirrors.

    ``targets``: where they are; ``folder``: the name of this database's folder at each, where one
    is given; ``usual_folder``: the one it has else, the first time; ``deadline``: seconds that a
    caller waits for all of them at most.
    """

    targets: tuple[MirrorTarget, ...] = ()
    folder: str | None
    usual_folder: str
    deadline: float = DEADLINE_SECONDS

    @classmethod
    def of(
        cls,
        mirrors: MirrorsOption,
        *,
        retention: RetentionPolicy | None,
        folder: str | None,
        deadline: float,
        database: Path | None,
        directory: Path,
    ) -> Self:
        """Return what the options mean; nothing is connected.

        Raises :class:`~soulsense_db.errors.OptionError`, also for a mirror that would be lost with
        the ``database`` or its backup ``directory``.
        """
        given = [mirrors] if isinstance(mirrors, (str, MirrorTarget)) else list(mirrors)
        targets: dict[str, MirrorTarget] = {}
        for one in given:
            target = MirrorTarget(url=one, retention=retention) if isinstance(one, str) else one
            if targets.setdefault(target.address, target).retention != target.retention:
                raise twice(target.address)
        for target in targets.values():
            require_elsewhere(target, database, directory)
        if not deadline > 0:
            raise no_deadline(deadline)
        return cls(
            targets=tuple(targets.values()),
            folder=require_folder(folder) if folder else None,
            usual_folder=folder_for(socket.gethostname(), database),
            deadline=deadline,
        )

    def folder_at(self, record: MirrorRecord) -> str:
        """Return the name of this database's folder at the mirror of ``record``.

        It stays what it was first, whatever the machine is called meanwhile.
        """
        return self.folder or record.folder or self.usual_folder

    def named(self, url: str) -> MirrorTarget:
        """Return the mirror at ``url``, with its policy where it is one of these."""
        wanted = MirrorTarget(url=url)
        return next((one for one in self.targets if one.address == wanted.address), wanted)


def require_elsewhere(target: MirrorTarget, database: Path | None, directory: Path) -> None:
    """Raise :class:`~soulsense_db.errors.OptionError` for a mirror that would be lost with them."""
    url = target.parsed
    if url.scheme != "file":
        return
    place = Path(os.path.realpath(url.path))
    if place.is_relative_to(directory):
        raise mirror_of_same_place(target.address, directory, "backup directory")
    if database is not None and place.is_relative_to(os.path.realpath(database.parent)):
        raise mirror_of_same_place(target.address, database.parent, "folder of the database")


def require_configured(mirrors: Mirrors) -> None:
    """Raise :class:`~soulsense_db.errors.OptionError` where there is no mirror."""
    if not mirrors.targets:
        raise OptionError(
            "No mirror is configured.",
            hint="Name one: --mirror s3://bucket/prefix, SOULSENSE_MIRROR, or soulsense_mirrors in "
            "the configuration file.",
        )
