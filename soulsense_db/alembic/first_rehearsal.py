"""The rehearsal that comes before an upgrade, where ``soulsense_rehearse`` asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from soulsense_db.alembic import errors
from soulsense_db.alembic.steps import Pending, upgrade_target
from soulsense_db.alembic.telling import log, say
from soulsense_db.errors import MissingRightError, ServerToolError
from soulsense_db.manager import BackupManager
from soulsense_db.settings import Settings, as_bool

if TYPE_CHECKING:
    from soulsense_db.alembic.rehearsal import RehearsalReport

_MOST_LINES = 10


class FirstRehearsal:
    """The rehearsal of one command: once, with all databases that env.py migrates.

    ``config``: Alembic's, None where a program uses a ``MigrationContext`` without any.
    """

    def __init__(self, settings: Settings, config: Config | None) -> None:
        self._settings = settings
        self._config = config
        self._is_done = False

    def run(self, context: MigrationContext, pending: Pending, manager: BackupManager) -> None:
        """Rehearse the command of ``context``, unless that was done.

        Raises :class:`~soulsense_db.errors.RehearsalFailedError`,
        :class:`~soulsense_db.errors.DataLossError`, and what :func:`rehearse` raises.
        """
        if not self._settings.rehearses or self._is_done:
            return
        target = upgrade_target(context)
        if self._config is None or target is None:
            if not all(getattr(step, "is_downgrade", False) for step in pending.steps):
                say("This upgrade is NOT rehearsed: the program runs it in a way of its own.")
            return
        # Most commands have no use for it.
        from soulsense_db.alembic.rehearsal import DEFAULT_SECONDS, rehearse

        accepts_loss = _accepts_loss(self._config)  # an error of it costs no rehearsal
        log.info("Rehearsing the upgrade on a copy of %s", manager.live.name)
        try:
            report = rehearse(
                self._config,
                target,
                manager=manager,
                timeout=self._settings.rehearse_timeout or DEFAULT_SECONDS,
            )
        except (MissingRightError, ServerToolError) as error:  # nobody here may be able to help
            raise errors.or_without_rehearsal(error) from None
        _require_good(report, accepts_loss=accepts_loss)
        self._is_done = True


def _require_good(report: RehearsalReport, *, accepts_loss: bool) -> None:
    path = report.databases[0].path
    wrong = list(report.of_severity("error"))
    if wrong:
        _tell([one.sentence for one in [*wrong[1:], *report.of_severity("loss")]])
        raise errors.rehearsal_failed(wrong[0].sentence, len(wrong) - 1)
    if all(step.database != path for step in report.steps):
        raise errors.rehearsal_missed(path)
    losses = [one.sentence for one in report.of_severity("loss")]
    if losses and not accepts_loss:
        _tell(losses[1:])
        raise errors.rehearsal_lost_data(losses[0], len(losses) - 1, report.revision)
    _tell([f"Accepted: {sentence}" for sentence in losses])
    _tell([one.sentence for one in report.of_severity("warning")])
    count = len(report.steps)
    steps = f"{count} step{'' if count == 1 else 's'} in {report.seconds:.1f} s"
    what = "no rows or values are lost"
    if losses:
        what = "the loss of data is accepted"
    elif report.has_gaps:
        what = "no loss was found, but not all could be compared"
    log.info("Rehearsed: %s; %s", steps, what)


def _tell(sentences: list[str]) -> None:
    for sentence in sentences[:_MOST_LINES]:
        say(f"Rehearsal: {sentence}")


def _accepts_loss(config: Config) -> bool:
    """Whether ``-x soulsense_accept_loss=1`` is given; raises ``OptionError``."""
    accepts = False
    for argument in getattr(config.cmd_opts, "x", None) or ():
        name, has_value, value = argument.partition("=")
        if name == errors.ACCEPT_LOSS:
            accepts = as_bool(f"-x {name}", value) if has_value else True
    return accepts
