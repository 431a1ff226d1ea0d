"""Tell people by mail, chat and the like that a command has failed: ``--notify``, by Apprise.

Its URLs hold passwords and tokens, and are in no text.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soulsense_db.cli.session import Session
from soulsense_db.errors import BackupError, OptionError, without_passwords
from soulsense_db.fs import storage_errors
from soulsense_db.notices import warn

if TYPE_CHECKING:
    from apprise import Apprise

NOTIFY_VARIABLE = "SOULSENSE_NOTIFY"
NotifyUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--notify",
        metavar="URL",
        envvar=NOTIFY_VARIABLE,
        help="Tell a failure to this URL of Apprise, or to those in a file: @FILE. Repeatable. "
        f"They are secrets: set {NOTIFY_VARIABLE}, or name a file.",
    ),
]

_FILE_MARK = "@"
_SECONDS = 30.0
Note = Callable[[str], None]
"""Takes a sentence on what a person should know, though the command goes on."""


@contextmanager
def notifying(urls: Sequence[str] | None, command: str, session: Session) -> Iterator[Note]:
    """Tell of an error that leaves the block, and of what it notes; nothing where all is well.

    A URL that cannot be used keeps nobody from a backup: it is a warning, and an exit code of its
    own where the block has none.
    """
    notes: list[str] = []
    if not urls:
        yield notes.append
        return
    people = None
    try:
        people = _people_of([url for given in urls for url in _read(given)])
    except OptionError as error:
        session.exit_code = error.exit_code
        warn(f"Failures will not be reported. {error.what} {error.hint}")
    try:
        yield notes.append
    except Exception as error:  # an interrupt has a person at the terminal
        text = error.message if isinstance(error, BackupError) else f"{type(error).__name__}"
        _tell(people, command, [*notes, text])
        raise
    if notes:
        _tell(people, command, notes)


def _read(given: str) -> list[str]:
    """Return ``given``, or the URLs of the file that it names: one a line, # for a comment."""
    if not given.startswith(_FILE_MARK) or "://" in given:
        return [given] if given.strip() else []
    path = Path(given.removeprefix(_FILE_MARK))
    try:
        with storage_errors("read", path):
            lines = path.read_text(encoding="utf-8").splitlines()
    except (BackupError, UnicodeDecodeError) as error:
        reason = error.cause if isinstance(error, BackupError) else "it is no text"
        raise OptionError(
            f"--notify {given} cannot be read ({reason}).",
            hint="Name a file with a URL in each line.",
        ) from None
    stripped = [line.strip() for line in lines]
    return [line for line in stripped if line and not line.startswith("#")]


def _people_of(urls: Sequence[str]) -> Apprise:
    if not urls:
        raise OptionError("--notify has no URL.", hint="Give one, or leave it out.")
    # What they say of a failure may have the URL in it.
    for name in ("apprise", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        from apprise import Apprise
    except ImportError:
        raise OptionError(
            "--notify needs Apprise, which is not installed.",
            hint='Install it: python3 -m pip install "soulsense-db[notify]"',
        ) from None
    people = Apprise()
    for number, url in enumerate(urls, 1):
        if not people.add(url):
            raise OptionError(
                f"URL {number} of {len(urls)} of --notify is none that Apprise knows.",
                hint="See https://github.com/caronc/apprise/wiki for what they look like.",
            )
    return people


def _tell(people: Apprise | None, command: str, lines: Sequence[str]) -> None:
    """Send it; what does not arrive is a warning, as is what takes too long."""
    if people is None:
        return
    failed = [True]

    def send() -> None:
        try:
            failed[0] = not people.notify(
                title=f"soulsense_db: {command}",
                body=without_passwords("\n".join(lines)),
                notify_type="failure",
            )
        except Exception:  # noqa: BLE001 - of any service's code; its text may have the URL
            failed[0] = True

    sending = threading.Thread(target=send, name="soulsense_db-notify", daemon=True)
    sending.start()
    sending.join(_SECONDS)
    if failed[0]:
        warn("A notification by --notify could not be sent.")
