"""What is done with mirrors: what ``manager.mirrors`` is."""

from __future__ import annotations

import builtins
import functools
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Literal, TypeVar

from soulsense_db.backup_info import BackupInfo
from soulsense_db.completion import Completion
from soulsense_db.errors import BackupError
from soulsense_db.mirroring.check import (
    MirrorCheck,
    MirrorTrial,
    require_still_there,
    try_rights,
    verify_there,
)
from soulsense_db.mirroring.errors import none_has, none_took_it
from soulsense_db.mirroring.fetch import Fetching, Place, folder_meant, place_of
from soulsense_db.mirroring.job import Stop, waited_for
from soulsense_db.mirroring.listing import MirrorListing, list_mirror
from soulsense_db.mirroring.options import (
    Mirrors,
    MirrorTarget,
    require_configured,
    require_elsewhere,
)
from soulsense_db.mirroring.selection import known
from soulsense_db.mirroring.status import MirrorStatus, mirror_statuses
from soulsense_db.mirroring.sync import SyncReport, sync_mirror
from soulsense_db.mirrors import (
    Mirror,
    MirrorRecord,
    RecordFile,
    mirror_for,
    token_of,
)
from soulsense_db.operations import DrillCheck, DrillPlan, Repository, Upgrade, checks_of
from soulsense_db.progress import Progress

T = TypeVar("T")


class MirrorOperations:
    """The mirrors of a manager.

    Nothing is connected before a method is called, and :meth:`status` connects to nothing either.

    Example:
        >>> [report.ok for report in manager.mirrors.sync()]
        [True]
    """

    def __init__(self, repository: Repository, mirrors: Mirrors) -> None:
        self._repository = repository
        self._mirrors = mirrors

    @property
    def addresses(self) -> tuple[str, ...]:
        """The URLs of all mirrors."""
        return tuple(target.address for target in self._mirrors.targets)

    def require_any(self) -> None:
        """Raise where there is no mirror.

        Raises:
            OptionError: There is none.

        Example:
            >>> manager.mirrors.require_any()
        """
        require_configured(self._mirrors)

    @property
    def deadline(self) -> float:
        """Seconds that others wait for the mirrors at most, all together."""
        return self._mirrors.deadline

    def sync(
        self,
        url: str | None = None,
        *,
        only: Collection[BackupInfo] = (),
        deadline: float | None = None,
        if_not_paused: bool = False,
        progress: Progress | None = None,
    ) -> builtins.list[SyncReport]:
        """Upload what each mirror lacks, then remove what its policy does not keep.

        What a mirror refuses is in its report and is tried again later: local backups are what they
        were, whatever happens.

        Args:
            url: One mirror; by default all.
            only: Only these backups and what they need are uploaded, and nothing is removed.
            deadline: Seconds to wait for all mirrors; None waits for as long as it takes.
            if_not_paused: True tries nothing at a mirror that failed a short time ago, or that
                another process is at work with.
            progress: Told how many bytes of how many are uploaded, in another thread. What it
                raises cancels.

        Returns:
            What became of each mirror.

        Raises:
            OptionError: It is no URL of a mirror.

        Example:
            >>> report = manager.mirrors.sync()[0]
            >>> len(report.uploaded), report.kept
            (1, 1)
        """
        return list(
            self._synced(
                url, only=only, deadline=deadline, if_not_paused=if_not_paused, progress=progress
            )
        )

    def _synced(
        self,
        url: str | None = None,
        *,
        only: Collection[BackupInfo] = (),
        deadline: float | None = None,
        if_not_paused: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[SyncReport]:
        """Sync one mirror after another; yield what became of each."""
        until = None if deadline is None else time.monotonic() + deadline
        targets = self._mirrors.targets if url is None else (self._mirrors.named(url),)
        for number, target in enumerate(targets):
            left = None if until is None else max(until - time.monotonic(), 0)
            yield sync_mirror(
                self._repository,
                target,
                self._mirrors,
                only=only,
                # Of the time that is left, one that hangs takes its share.
                deadline=None if left is None else left / (len(targets) - number),
                if_not_paused=if_not_paused,
                progress=progress,
            )

    def require_uploaded(self, info: BackupInfo) -> str:
        """Upload a backup, with what it needs, to one mirror: that which takes it first.

        Args:
            info: The backup.

        Returns:
            The address of the mirror that has it.

        Raises:
            OptionError: There is no mirror.
            MirrorError: None had it within ``mirror_deadline``.

        Example:
            >>> manager.mirrors.require_uploaded(manager.get("latest"))
            'file:///mnt/usb/soulsense'
        """
        self.require_any()
        errors: builtins.list[BackupError] = []
        for report in self._synced(only=[info], deadline=self.deadline):
            if report.ok:
                return report.address
            errors += [report.error] if report.error is not None else report.problems
        raise none_took_it(info.filename, errors) from errors[0]

    def upload_after(self, info: BackupInfo) -> None:
        """Upload what is owed, now that a backup is made: what fails of that is a warning.

        Args:
            info: The backup.

        Example:
            >>> manager.mirrors.upload_after(manager.get("latest"))
        """
        completion = Completion(f"The backup {info.filename} was created.")
        with completion.then("It was not uploaded"):
            for report in self.sync(deadline=self.deadline, if_not_paused=True):
                if report.error is not None:
                    completion.warn_of(f"{report.address} is not in step", report.error)
                elif report.skipped:
                    completion.warn_of(f"{report.address} has to wait: {report.skipped}")
        completion.log()

    def status(self) -> builtins.list[MirrorStatus]:
        """Return what is known here of each mirror, without asking it.

        Returns:
            One for each mirror.

        Raises:
            StorageError: The backup directory cannot be read.

        Example:
            >>> manager.mirrors.status()[0].failures
            0
        """
        return mirror_statuses(self._repository, self._mirrors)

    def places_of(self, info: BackupInfo) -> tuple[str, ...]:
        """Return the mirrors that are known to have a backup, without asking them.

        Args:
            info: The backup.

        Returns:
            Their addresses.

        Example:
            >>> synced = manager.mirrors.sync()
            >>> manager.mirrors.places_of(manager.get("latest"))
            ('file:///mnt/usb/soulsense',)
        """
        token = token_of(info)
        return tuple(
            status.address for status in self.status() if token in map(token_of, status.backups)
        )

    def only_there(self) -> builtins.list[BackupInfo]:
        """Return the backups that are known to be at a mirror and are not here any more.

        Returns:
            The newest first, each once; :meth:`fetch` takes one.

        Example:
            >>> manager.mirrors.only_there()
            []
        """
        here = {token_of(info) for info in known(self._repository)}
        found: dict[str, BackupInfo] = {}
        for status in self.status():
            for info in status.backups:
                if token_of(info) not in here:
                    found.setdefault(token_of(info), info)
        return sorted(found.values(), key=lambda info: info.order, reverse=True)

    def list(
        self, url: str | None = None, *, deadline: float | None = None
    ) -> builtins.list[MirrorListing]:
        """Ask the mirrors what is there, of all databases.

        Args:
            url: One mirror, or one folder there; by default all mirrors of this manager.
            deadline: Seconds to wait for each; None waits for as long as it takes.

        Returns:
            One for each folder at each mirror.

        Raises:
            OptionError: It is no URL of a mirror; or there is none.
            MirrorError: A mirror refuses it.

        Example:
            >>> synced = manager.mirrors.sync()
            >>> [len(listing.backups) for listing in manager.mirrors.list()]
            [1]
        """
        if url is None:
            self.require_any()
        urls = self.addresses if url is None else (url,)
        return [found for one in urls for found in list_mirror(one, deadline=deadline)]

    def verify(
        self,
        *,
        url: str | None = None,
        within_days: int | None = None,
        level: Literal["full", "drill"] = "full",
        checks: Iterable[DrillCheck] = (),
        upgrade: Upgrade | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> builtins.list[MirrorCheck]:
        """Download backups of this database, and verify each in full, or drill it.

        One that is damaged is uploaded again by the next :meth:`sync`, if it is still here.

        Args:
            url: One mirror; by default all.
            within_days: Only a share: with one call a day, all are read within so many days.
            level: ``full`` or ``drill``, as for ``BackupManager.verify``.
            checks: Of a drill, as there. Functions are called in another thread.
            upgrade: Of a drill, as there.
            deadline: Seconds to wait for each mirror; None waits for as long as it takes.
            progress: Told how many bytes of how many were downloaded, in another thread.

        Returns:
            What was found at each mirror.

        Raises:
            OptionError: It is no URL of a mirror; or there is none; or one of ``checks`` says
                nothing.
            ValueError: It is no number of days, or there is no such level; or there are ``checks``
                or an ``upgrade``, and it is no drill.
            MirrorError: A mirror refuses it.
            StorageError: The file system refused something.

        Example:
            >>> synced = manager.mirrors.sync()
            >>> [len(check.verified) for check in manager.mirrors.verify()]
            [1]
        """
        if url is None:
            self.require_any()
        if within_days is not None and within_days < 1:
            raise ValueError(f"within_days must be 1 or more, not {within_days}")
        if level not in ("full", "drill"):
            raise ValueError(f"level must be 'full' or 'drill', not {level!r}")
        if (checks or upgrade is not None) and level != "drill":
            raise ValueError("checks and upgrade are for level='drill'")
        drills = DrillPlan(checks_of(checks), upgrade) if level == "drill" else None
        targets = self._mirrors.targets if url is None else (self._mirrors.named(url),)

        def work(mirror: Mirror, stop: Stop) -> MirrorCheck:
            record = self._file.read().get(mirror.address, MirrorRecord())
            return verify_there(
                self._repository,
                mirror,
                self._mirrors.folder_at(record),
                within_days=within_days,
                drills=drills,
                stop=stop,
            )

        return [self._done(target, work, deadline, progress) for target in targets]

    def add(self, url: str, *, anew: bool = False, deadline: float | None = None) -> MirrorTrial:
        """Set up a mirror, and try what it allows: write, read, list, create, delete.

        It is not remembered: name it in ``mirrors``, or in the configuration, as well.

        Args:
            url: The mirror.
            anew: True sets it up even where backups are known to be, and nothing is: on a new
                drive, say. Otherwise that is an error, for the old one may not be mounted.
            deadline: Seconds to wait; None waits for as long as it takes.

        Returns:
            What it allows, and what not.

        Raises:
            OptionError: It is no URL of a mirror.
            MirrorError: It is not reached, or cannot be set up; nothing at all is allowed there.

        Example:
            >>> manager.mirrors.add("file:///mnt/usb/soulsense").is_append_only
            False
        """
        target = self._mirrors.named(url)
        require_elsewhere(target, self._repository.database, self._repository.directory.directory)
        record = self._file.read().get(target.address, MirrorRecord())
        folder = self._mirrors.folder_at(record)

        def work(mirror: Mirror, stop: Stop) -> MirrorTrial:
            if record.metas and not anew:
                require_still_there(mirror)
            return try_rights(mirror, folder, stop)

        trial = self._done(target, work, deadline, None)
        if trial.ok and record.failures:
            record.succeeded()
            self._file.write(target.address, record)
        return trial

    def fetch(
        self,
        ref: BackupInfo | str,
        url: str | None = None,
        *,
        requires_key: bool = False,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> BackupInfo:
        """Download a backup, with what it needs, into the backup directory.

        From then on it is a backup as any other, of this database, under its own id; :meth:`restore
        <soulsense_db.BackupManager.restore>` takes it. What is here already is not downloaded.

        Args:
            ref: Its id or the beginning of it, its name here or at the mirror, ``latest``,
                ``latest~1``, ``revision:`` with a revision; or what :meth:`only_there` returned.
            url: The mirror, or one folder there; by default each mirror of this manager, until
                there is one that has it.
            requires_key: True downloads nothing that could not be decrypted here.
            deadline: Seconds to wait; None waits for as long as it takes.
            progress: Told how many bytes of how many were downloaded, in another thread. What it
                raises cancels, and leaves nothing.

        Returns:
            The facts of the backup as it is here now.

        Raises:
            BackupNotFoundError: Nothing there is meant by ``ref``.
            AmbiguousReferenceError: Several are; or the backups of several databases are there, and
                the URL names none of them.
            InvalidBackupError: It was changed or damaged there.
            IdentityError: ``requires_key``, and none of the identities opens it.
            MirrorError: The mirror refuses it; or none of several gave it.
            StorageError: The file system refused something.
            OptionError: It is no URL of a mirror; or there is none.

        Example:
            >>> synced = manager.mirrors.sync()
            >>> manager.mirrors.fetch("latest") == manager.get("latest")
            True
        """
        if url is None:
            self.require_any()
        urls = self.addresses if url is None else (url,)
        name = ref.id if isinstance(ref, BackupInfo) else ref
        errors: builtins.list[BackupError] = []
        for one in urls:
            try:
                return waited_for(
                    functools.partial(self._fetched, name, one, requires_key),
                    address=one,
                    deadline=deadline,
                    progress=progress,
                )
            except BackupError as error:
                errors.append(error)
                if len(urls) == 1:
                    raise
        raise none_has(name, errors) from errors[0]

    def _fetched(self, ref: str, url: str, requires_key: bool, stop: Stop) -> BackupInfo:
        known_url = url in self.addresses
        place = Place(self._mirrors.named(url).parsed) if known_url else place_of(url, stop)
        with mirror_for(place.url) as mirror:
            record = self._file.read().get(mirror.address, MirrorRecord())
            usual = self._mirrors.folder_at(record)
            folder = folder_meant(mirror, place.folder, usual, stop)
            # What is known of another folder says nothing of this one.
            own = record if folder == record.folder else MirrorRecord()
            fetching = Fetching(mirror, folder, own, stop)
            found = fetching.named(ref, self._repository)
            if requires_key:
                fetching.require_key(found, self._repository.forms.identities)
            info = fetching.to_directory(self._repository, found)
        self._repository.with_catalog_as_it_is().sync_catalog()
        return info

    @property
    def _file(self) -> RecordFile:
        return RecordFile(self._repository.directory.directory, self._repository.known_as)

    def _done(
        self,
        target: MirrorTarget,
        work: Callable[[Mirror, Stop], T],
        deadline: float | None,
        progress: Progress | None,
    ) -> T:
        def connected(stop: Stop) -> T:
            with mirror_for(target.parsed) as mirror:
                return work(mirror, stop)

        return waited_for(connected, address=target.address, deadline=deadline, progress=progress)
