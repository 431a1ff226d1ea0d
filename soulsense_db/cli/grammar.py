"""How a call is read, and how its help looks: common options on either side of the command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

COMMON_OPTIONS = "Common options"
FORM_OPTIONS = "Compression and encryption"
SERVER_OPTIONS = "Database servers"
MIRROR_OPTIONS = "Mirrors"
COMMON_PANELS = (COMMON_OPTIONS, FORM_OPTIONS, SERVER_OPTIONS, MIRROR_OPTIONS)
"""The help panels of the options that every command takes.

Several: the columns of a panel are as wide as its longest names.
"""

EVERYDAY = "Everyday"
KEEPING = "Keeping backups"
UNATTENDED = "Unattended"
ELSEWHERE = "Somewhere else"
WINDOW = "Window"
SETTING_UP = "Setting up"


def commands_of(program: Any) -> dict[str, Any]:
    """Return all commands by what one types: ``auto``, ``mirror sync``."""
    found: dict[str, Any] = {}
    for name, command in getattr(program, "commands", {}).items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {one}": of for one, of in inner.items()} if inner else {name: command}
    return found


class ProgramCommand(TyperCommand):
    """A command whose help has no column of Python types."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; a flag takes no value, so that none is shown."""
        return _without_types(super().get_params(ctx))


class ProgramGroup(TyperGroup):
    """The program; the common options may stand before the command as well."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; a flag takes no value, so that none is shown."""
        return _without_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Hand the common options that stand before the command on to the command."""
        common, command_at = self._common_options_of(args)
        if command_at == len(args):
            return super().parse_args(ctx, args)
        moved = [args[i] for i in common]
        before = [args[i] for i in range(command_at) if i not in common]
        return super().parse_args(ctx, [*before, args[command_at], *moved, *args[command_at + 1 :]])

    def _common_options_of(self, args: Sequence[str]) -> tuple[set[int], int]:
        """Return where in ``args`` common options and their values are, and where the command."""
        parameters: list[Any] = self.params
        takes_value = {
            name: not param.is_flag
            for param in parameters
            if getattr(param, "rich_help_panel", None) in COMMON_PANELS
            for name in (*param.opts, *param.secondary_opts)
        }
        found: set[int] = set()
        position = 0
        while position < len(args) and args[position].startswith("-") and args[position] != "--":
            word = args[position]
            name = word.split("=", 1)[0] if word.startswith("--") else word[:2]
            if name in takes_value:
                found.add(position)
                if takes_value[name] and word == name and position + 1 < len(args):
                    position += 1
                    found.add(position)
            position += 1
        return found, position


def _without_types(params: list[Any]) -> list[Any]:
    for param in params:
        if param.param_type_name == "argument":
            param.display_type_rich = lambda ctx: ""
        elif param.is_flag:
            param.metavar = ""
    return params
