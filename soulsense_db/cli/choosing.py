"""Choose a backup from a list, where a command on a terminal names none."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from soulsense_db.backup_info import BackupInfo
from soulsense_db.cli.facts import described, revision_of
from soulsense_db.cli.output import SHORT_ID, age_of, print_table, say
from soulsense_db.cli.session import Session
from soulsense_db.errors import BackupError, BackupNotFoundError, NotConfirmedError
from soulsense_db.mirroring import one_of
from soulsense_db.shown_text import printable

_MOST = 20
"""How many backups fit on a screen, the newest first."""
# The base of Typer's errors about arguments, whether it brings its own Click or not.
_UsageError = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "UsageError")


def require_terminal(session: Session) -> None:
    """Raise a usage error where there is nobody to choose."""
    if session.talks and sys.stdin.isatty() and sys.stderr.isatty():
        return
    raise _UsageError("Missing argument 'REF'. Give the id of a backup, or 'latest'.")


def chosen(session: Session, ref: str | None, verb: str, *, warns: bool = True) -> BackupInfo:
    """Return the backup that ``ref`` names, or the one that is chosen from a list.

    Raises :class:`NotConfirmedError` where none is chosen. ``verb``: what is done with it.
    ``warns``: of a database that is missing, where its backups are there.
    """
    if ref is None:
        require_terminal(session)
    session.require_database_or_backups(warns=warns)
    if ref is not None:
        return session.manager.get(ref)
    backups = session.manager.list()
    if not backups:
        raise BackupNotFoundError(
            f"There is no backup in {session.manager.directory}.",
            hint=f"To create one: {session.command('create')}",
        )
    return _picked(session, backups, verb, session.manager.get)


def fetched(
    session: Session, ref: str | None, url: str, verb: str, *, requires_key: bool = False
) -> BackupInfo:
    """Return the backup that ``ref`` names at the mirror ``url``, downloaded.

    ``requires_key``: nothing is downloaded for which there is no key, and nobody to ask for it.
    Without ``ref`` it is chosen from a list; raises :class:`NotConfirmedError` where none is.
    """
    if ref is None:
        require_terminal(session)
        folders = [listing for listing in session.manager.mirrors.list(url) if listing.backups]
        if len(folders) == 1:
            backups = list(folders[0].backups)
            ref = _picked(session, backups, verb, lambda answer: one_of(backups, answer, url)).id
    mirrors = session.manager.mirrors
    with session.progress("Downloading") as progress:
        info = mirrors.fetch(
            ref or "latest",
            url,
            requires_key=requires_key and not session.asks_passphrase,
            progress=progress,
        )
    session.say(f"Downloaded {info.filename} ({info.size_display})")
    return info


def _picked(
    session: Session, backups: list[BackupInfo], verb: str, get: Callable[[str], BackupInfo]
) -> BackupInfo:
    """Return what a person picks of ``backups``, by number, or by what ``get`` takes."""
    _print_numbered(session, backups)
    while True:
        answer = _asked(f"{verb} which backup? Number or id (Enter to cancel)")
        if not answer:
            raise NotConfirmedError("Not confirmed.")
        if answer.isascii() and answer.isdigit() and len(answer) < SHORT_ID:
            if 1 <= int(answer) <= min(len(backups), _MOST):
                return backups[int(answer) - 1]
            say(f"Type a number from 1 to {min(len(backups), _MOST)}, or an id.", to=sys.stderr)
            continue
        try:
            return get(answer)
        except BackupError as error:
            say(error.what, to=sys.stderr)


def _print_numbered(session: Session, backups: list[BackupInfo]) -> None:
    shown = backups[:_MOST]
    table = {
        ">#": [str(number) for number, _ in enumerate(shown, start=1)],
        "ID": [info.id[:SHORT_ID] for info in shown],
        "TAKEN": [info.timestamp_display[:16] for info in shown],
        "AGE": [age_of(info.created_at) for info in shown],
        ">SIZE": [info.size_display for info in shown],
        "KIND": [info.kind for info in shown],
        "REVISION": [revision_of(info) for info in shown],
        "DESCRIPTION": [described(info) for info in shown],
    }
    if not any(info.alembic_heads for info in shown):  # an application without Alembic
        del table["REVISION"]
    print_table(list(table), list(zip(*table.values(), strict=True)))
    older = len(backups) - _MOST
    if older > 0:
        say(f"{older} older backup(s) are not shown. To see them: {session.command('list')}")


def _asked(question: str) -> str:
    """Return what is typed; nothing at the end of the input. Ctrl-C interrupts the program."""
    try:
        answer: str = typer.prompt(printable(question), default="", show_default=False, err=True)
    except typer.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        say("", to=sys.stderr)
        return ""
    return answer.strip()
