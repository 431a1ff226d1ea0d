"""Where else the backups are: at which mirrors, as far as it is known on this machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog import texts
from soulsense_db.dialog.formatting import COLUMNS, Column
from soulsense_db.dialog.translation import _
from soulsense_db.errors import BackupError
from soulsense_db.manager import BackupManager
from soulsense_db.mirrors import token_of
from soulsense_db.notices import log_ignored


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The mirrors that are known to have a backup.

    ``only_there``: the backups that are not here, newest first.
    """

    only_there: tuple[BackupInfo, ...] = ()
    _addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by token
    _absent: Collection[str] = frozenset()  # paths

    @classmethod
    def of(cls, manager: BackupManager) -> Elsewhere:
        """Return what is known of the mirrors of ``manager``; nothing is connected."""
        if not manager.mirrors.addresses:
            return cls()
        try:
            addresses: dict[str, list[str]] = {}
            for status in manager.mirrors.status():
                for info in status.backups:
                    addresses.setdefault(token_of(info), []).append(status.address)
            # A sync may have changed what is known, in the meantime.
            only_there = [i for i in manager.mirrors.only_there() if token_of(i) in addresses]
        except BackupError as error:  # the list is of use without
            log_ignored("What is known of the mirrors cannot be read", error)
            return cls()
        return cls(
            tuple(only_there),
            {token: tuple(found) for token, found in addresses.items()},
            frozenset(info.path for info in only_there),
        )

    def addresses_of(self, info: BackupInfo) -> tuple[str, ...]:
        """Return the mirrors that have ``info``."""
        return self._addresses.get(token_of(info), ()) if self._addresses else ()

    def has_only(self, info: BackupInfo) -> bool:
        """Whether ``info`` is at a mirror and not here."""
        return info.path in self._absent

    def place(self, info: BackupInfo) -> str:
        """Return the text for where ``info`` is."""
        if self.has_only(info):
            return texts.PLACE_MIRROR
        return texts.PLACE_BOTH if self.addresses_of(info) else texts.PLACE_HERE


def columns_with_place(elsewhere: Elsewhere) -> tuple[Column, ...]:
    """Return all columns of the list, and among them that which says where a backup is."""
    place = Column(
        "place",
        texts.PLACE,
        lambda: map(_, (texts.PLACE_HERE, texts.PLACE_BOTH, texts.PLACE_MIRROR)),
        lambda info, _today: _(elsewhere.place(info)),
        lambda info: _(elsewhere.place(info)),
        tells=elsewhere.place,
        usual=texts.PLACE_HERE,
    )
    after = [column.name for column in COLUMNS].index("size") + 1
    return (*COLUMNS[:after], place, *COLUMNS[after:])
