"""Delete a backup, after a question; and with it, if that is wished, the backups that need it."""

from __future__ import annotations

from soulsense_db.backup_info import BackupInfo, dependents
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.base_window import BaseWindow
from soulsense_db.dialog.question import Question
from soulsense_db.dialog.theme import BAD_STYLE, NOTE_STYLE
from soulsense_db.dialog.translation import _, plural
from soulsense_db.errors import ProtectedBackupError
from soulsense_db.manager import BackupManager


def ask_to_delete(window: BaseWindow, info: BackupInfo) -> None:
    """Delete ``info`` after a yes, and the differentials that cannot be restored without it."""
    needing = dependents(info, window.table.here)

    def then(_nothing: None) -> None:
        window.table.leave(info.path)
        said = [_(texts.DELETED).format(file=formatting.plain(info.filename))]
        if needing:
            said.append(plural(texts.DELETED_TOO, len(needing)))
        window.status.tell(" ".join(said))

    def answered(yes: bool) -> None:
        if yes:
            window.task.run(
                "delete",
                texts.DELETING,
                lambda _job: _delete(window.manager, info, needing),
                then=then,
            )

    question = Question(
        window,
        title=_(texts.DELETE_QUESTION),
        yes=plural(texts.DELETE_ALL_YES, 1 + len(needing)) if needing else _(texts.DELETE_YES),
        no=_(texts.CANCEL),
        answered=answered,
    )
    question.headline(_(texts.DELETE_QUESTION))
    question.describe(info)
    if needing:
        question.say(plural(texts.DELETE_NEEDED, len(needing)), style=BAD_STYLE)
    addresses = window.table.elsewhere.addresses_of(info)
    if addresses and not needing:
        question.say(_(texts.DELETE_STAYS))
        question.say("\n".join(map(formatting.plain, addresses)), style=NOTE_STYLE, gap=False)
    else:
        question.say(_(texts.DELETE_MEANING))
    question.open()


def _delete(manager: BackupManager, info: BackupInfo, needing: list[BackupInfo]) -> None:
    """Delete ``info`` and those that were asked about; no other one goes with them."""
    if needing and _names(manager.dependents(info)) != _names(needing):
        raise ProtectedBackupError(_(texts.DELETE_CHANGED), hint=_(texts.DELETE_CHANGED_HINT))
    manager.delete(info, cascade=bool(needing))


def _names(backups: list[BackupInfo]) -> set[str]:
    return {info.filename for info in backups}
