"""What is at a mirror, of all databases, by asking it."""

from __future__ import annotations

from dataclasses import dataclass

from soulsense_db.backup_info import BackupInfo
from soulsense_db.mirroring.contents import contents_of
from soulsense_db.mirroring.fetch import place_of
from soulsense_db.mirroring.job import Stop, waited_for
from soulsense_db.mirrors import Mirror, MirrorRecord, folders_in, mirror_for


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorListing:
    """What is in one folder at a mirror, by asking it.

    Attributes:
        address: Where the mirror is.
        folder: The folder; what follows the address in a URL.
        backups: The backups there that are whole, newest first.
        damaged: What is there and not what its meta file says, by name: why.

    Example:
        >>> synced = manager.mirrors.sync()
        >>> [listing.folder for listing in manager.mirrors.list()]
        ['...-app-...']
    """

    address: str
    folder: str
    backups: tuple[BackupInfo, ...]
    damaged: tuple[tuple[str, str], ...] = ()


def list_mirror(url: str, *, deadline: float | None = None) -> list[MirrorListing]:
    """Return what is at a mirror, of all databases; nothing but the URL is needed.

    Args:
        url: The mirror, or one folder there.
        deadline: Seconds to wait; None waits for as long as it takes.

    Returns:
        One for each folder, by name.

    Raises:
        OptionError: It is no URL of a mirror.
        MirrorError: The mirror refuses it.

    Example:
        >>> synced = manager.mirrors.sync()
        >>> [listing.folder for listing in list_mirror("file:///mnt/usb/soulsense")]
        ['...-app-...']
    """

    def work(stop: Stop) -> list[MirrorListing]:
        place = place_of(url, stop)
        with mirror_for(place.url) as mirror:
            folders = folders_in(mirror.list_objects(place.folder))
            return [_listing(mirror, folder, stop) for folder in folders]

    return waited_for(work, address=str(url), deadline=deadline)


def _listing(mirror: Mirror, folder: str, stop: Stop) -> MirrorListing:
    contents = contents_of(mirror, folder, MirrorRecord(), stop)
    return MirrorListing(
        address=mirror.address,
        folder=folder,
        backups=tuple(contents.newest_first()),
        damaged=tuple(sorted(contents.damaged.items())),
    )
