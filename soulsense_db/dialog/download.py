"""Download a backup that is only at a mirror, after a question, before anything is done with it."""

from __future__ import annotations

from collections.abc import Callable

from soulsense_db.backup_info import BackupInfo, bases_for, display_size
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.base_window import BaseWindow
from soulsense_db.dialog.jobs import Job
from soulsense_db.dialog.question import Question
from soulsense_db.dialog.theme import NOTE_STYLE
from soulsense_db.dialog.translation import _
from soulsense_db.errors import BackupError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import collected_warnings, log_ignored
from soulsense_db.progress import Progress

# What came, what is worth knowing of it, and whether somebody wants it no more.
_Fetched = tuple[BackupInfo, list[str], Callable[[], bool]]


def bring_here(window: BaseWindow, info: BackupInfo, then: Callable[[BackupInfo], object]) -> None:
    """Call ``then`` with ``info`` as it is here; where it is not, download it, after a question.

    A no changes nothing: ``then`` is not called.
    """
    elsewhere = window.table.elsewhere
    if not elsewhere.has_only(info):
        then(info)
        return
    addresses = elsewhere.addresses_of(info)
    question = Question(
        window,
        title=_(texts.FETCH_QUESTION),
        yes=_(texts.FETCH_YES),
        no=_(texts.CANCEL),
        answered=lambda yes: _download(window, info, addresses, then) if yes else None,
    )
    question.headline(_(texts.FETCH_QUESTION))
    question.describe(info)
    size = display_size(_bytes_to_come(window, info))
    question.say(_(texts.FETCH_MEANING).format(size=size))
    question.say("\n".join(map(formatting.plain, addresses)), style=NOTE_STYLE, gap=False)
    question.open()


def _bytes_to_come(window: BaseWindow, info: BackupInfo) -> int:
    """Return the size of ``info``, and of its base if that has to come along."""
    size = info.size_bytes
    if info.base_sha256 is not None and not bases_for(info, window.table.here):
        size += sum(one.size_bytes for one in bases_for(info, window.table.backups)[:1])
    return size


def _download(
    window: BaseWindow,
    info: BackupInfo,
    addresses: tuple[str, ...],
    go_on: Callable[[BackupInfo], object],
) -> None:
    def work(job: Job[_Fetched]) -> _Fetched:
        with collected_warnings() as warnings:
            fetched = _fetch(window.manager, info, addresses, job.progress)
        return fetched, warnings, lambda: job.is_cancelled

    def then(came: _Fetched) -> None:
        fetched, warnings, is_cancelled = came
        window.clear_search()  # it might not fit
        window.table.select(fetched.path)
        said = _(texts.FETCHED).format(
            file=formatting.plain(fetched.filename), size=fetched.size_display
        )
        window.status.tell(" ".join((said, *map(formatting.plain, warnings))))
        if not is_cancelled():
            # When all has ended that ends with the download, as a question whether to close.
            window.in_background(lambda: fetched, then=unless_busy)

    def unless_busy(fetched: BackupInfo) -> None:
        if not window.is_busy:
            go_on(fetched)

    # A mirror may hang.
    window.task.run("fetch", texts.FETCHING, work, then=then, may_be_left=True)


def _fetch(
    manager: BackupManager, info: BackupInfo, addresses: tuple[str, ...], progress: Progress
) -> BackupInfo:
    """Download ``info`` from the first of ``addresses`` that hands it out."""
    for address in addresses[:-1]:
        try:
            return manager.mirrors.fetch(info, address, progress=progress)
        except BackupError as error:
            log_ignored(f"{address} does not hand out {info.filename}", error)
    return manager.mirrors.fetch(info, addresses[-1], progress=progress)
