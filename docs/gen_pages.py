"""Write a page for each command of the program, from the program itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import mkdocs_gen_files
import typer

from soulsense_db.cli import app
from soulsense_db.cli.grammar import COMMON_PANELS, commands_of

PROGRAM = "soulsense-db"


def commands() -> dict[str, Any]:
    """Return the program's commands by name."""
    program: Any = typer.main.get_command(app)
    return {name: command for name, command in commands_of(program).items() if not command.hidden}


def file_of(name: str) -> str:
    """Return the file of the page about a command."""
    return f"{name.replace(' ', '-')}.md"


def page_of(name: str, command: Any) -> str:
    """Return the page about one command."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join([PROGRAM, name, "[OPTIONS]", *map(_shape, arguments)])
    example = command.epilog.removeprefix("Example: ")
    lines = [f"# {PROGRAM} {name}", "", "```sh", example, "```", ""]
    lines += [*command.help.splitlines(), "", "```text", usage, "```", ""]
    if arguments:
        lines += ["## Arguments", "", *_table((_shape(a), _help(a)) for a in arguments)]
    # The options that every command has come last, whatever the others' order is.
    options.sort(key=lambda option: _place(option.rich_help_panel))
    for panel, of_panel in groupby(options, key=lambda option: option.rich_help_panel):
        lines += [f"## {panel or 'Options'}", ""]
        lines += _table((_flags(option), _help(option)) for option in of_panel)
    return "\n".join(lines)


def _place(panel: str | None) -> int:
    return COMMON_PANELS.index(panel) + 1 if panel in COMMON_PANELS else 0


def index_of(found: dict[str, Any]) -> str:
    """Return the page that leads to the others."""
    lines = [
        "# Commands",
        "",
        "Results go to standard output. An error is one line on standard error, usually with a",
        "hint, and has the [exit code of its class](../reference/errors.md). With `--json`, a",
        "command prints [one JSON object](../reference/json.md). The common options, such as",
        "`--url`, may stand before or after the command.",
        "",
    ]
    groups: dict[str, list[str]] = {}
    for name, command in found.items():
        groups.setdefault(command.rich_help_panel, []).append(name)
    for group, names in groups.items():
        lines += [f"## {group}", ""]
        lines += _table((f"[{n}]({file_of(n)})", found[n].help.split("\n\n")[0]) for n in names)
    return "\n".join(lines)


def _shape(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper()
    return name if argument.required else f"[{name}]"


def _flags(option: Any) -> str:
    flags = ", ".join((*option.opts, *option.secondary_opts))
    metavar = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    return f"{flags}{metavar}"


def _help(parameter: Any) -> str:
    text = parameter.help or ""
    if parameter.multiple:
        text += " May be given several times."
    if not getattr(parameter, "is_flag", False) and parameter.default not in {None, ""}:
        text += f" Default: {parameter.default}."
    return text


def _table(rows: Any) -> Iterator[str]:
    yield "| Name | Meaning |"
    yield "| --- | --- |"
    for first, second in rows:
        cell = first if first.startswith("[") and "](" in first else f"`{first}`"
        yield f"| {cell} | {_escaped(second)} |"
    yield ""


def _escaped(text: str) -> str:
    text = " ".join(text.split())
    for character in "\\|<*_":
        text = text.replace(character, f"\\{character}" if character != "<" else "&lt;")
    return text


def write() -> None:
    """Write all pages into the site that is being built."""
    found = commands()
    texts = {file_of(name): page_of(name, command) for name, command in found.items()}
    for name, text in {"index.md": index_of(found), **texts}.items():
        with mkdocs_gen_files.open(f"commands/{name}", "w") as page:
            page.write(text)


write()
