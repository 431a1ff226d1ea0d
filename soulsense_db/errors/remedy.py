"""What to do about an error: a sentence, and commands that a person can copy, or a window offer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from soulsense_db.errors.passwords import presentable, without_passwords
from soulsense_db.shown_text import shell_command


class Action(StrEnum):
    """What a command of a remedy does."""

    RESTORE = "restore"
    """Restore the backup that is the command's first argument."""
    UNDO = "undo"
    """Go back to the safety backup of the last restore."""
    ACCEPT = "accept"
    """Keep the database as a migration that died has left it."""
    ADOPT = "adopt"
    """Make the backup that is the command's first argument one of this database."""
    LIST = "list"
    """Look at the backups that there are."""


_WORDS: Final = {
    Action.RESTORE: ("restore",),
    Action.UNDO: ("undo",),
    Action.ACCEPT: ("restore", "--accept"),
    Action.ADOPT: ("adopt",),
    Action.LIST: ("list",),
}
_BETWEEN_COMMANDS = "   "


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a remedy.

    Attributes:
        action: What it does.
        label: What it is for; a colon can follow.
        arguments: What follows the name of the command.

    Example:
        >>> Command(Action.RESTORE, "Restore the newest backup", ("latest",)).line
        'soulsense-db restore latest'
    """

    action: Action
    label: str
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", presentable(self.label))

    @property
    def line(self) -> str:
        """The command as a shell takes it, without passwords."""
        words = shell_command("soulsense-db", *_WORDS[self.action], *self.arguments)
        return without_passwords(words)

    def __str__(self) -> str:
        return f"{self.label}: {self.line}"


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do about an error; without a sentence and without commands it is false.

    Attributes:
        sentence: What to do, one sentence or several.
        commands: Commands to copy, or for a window to offer.

    Example:
        >>> str(Remedy("Free some space.", (Command(Action.LIST, "The backups"),)))
        'Free some space. The backups: soulsense-db list'
    """

    sentence: str = ""
    commands: tuple[Command, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sentence", presentable(self.sentence))

    @property
    def lines(self) -> tuple[str, ...]:
        """What to do, for a person: several commands have a line each."""
        if len(self.commands) < 2:
            return (str(self),) if self else ()
        return (*filter(None, (self.sentence,)), *map(str, self.commands))

    def __str__(self) -> str:
        """Return what to do in one line."""
        commands = _BETWEEN_COMMANDS.join(map(str, self.commands))
        return " ".join(filter(None, (self.sentence, commands)))

    def __bool__(self) -> bool:
        return bool(self.sentence or self.commands)


NO_REMEDY: Final = Remedy()

# What names a database in commands, by its address, where that is not --url.
_named_by: dict[str, tuple[str, ...]] = {}


def name_in_commands(address: str, options: tuple[str, ...]) -> None:
    """Have all later commands name the database at ``address`` by ``options``.

    An address has no password: where alembic.ini has it, ``--url`` alone does not reach a server.
    """
    _named_by[address] = options


def database_options(address: str, directory: Path | None = None) -> tuple[str, ...]:
    """Return the options that name the database at ``address``, and the backup ``directory``."""
    options = _named_by.get(address, ("--url", address))
    if directory is None or "--directory" in options:
        return options
    return (*options, "--directory", str(directory))


def restore_command(label: str, address: str, backup: Path) -> Command:
    """Return the command that restores ``backup`` over the database at ``address``."""
    options = database_options(address, backup.parent)
    return Command(Action.RESTORE, label, (backup.name, *options))


def accept_command(label: str, address: str, directory: Path | None = None) -> Command:
    """Return the command that keeps the half-run database at ``address`` as it is.

    ``directory``: that of its backups, where its marker is there.
    """
    return Command(Action.ACCEPT, label, database_options(address, directory))
