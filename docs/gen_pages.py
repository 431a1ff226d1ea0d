"""Write a page for each command of the program, from the program itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import mkdocs_gen_files
import typer

from soulsense_db.cli import app

PROGRAM = "soulsense-db"
_COMMON = "Common options"


def commands() -> dict[str, Any]:
    """Return the program's commands by name."""
    program: Any = typer.main.get_command(app)
    return {name: command for name, command in program.commands.items() if not command.hidden}


def page_of(name: str, command: Any) -> str:
    """Return the page about one command."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join([PROGRAM, name, "[OPTIONS]", *map(_shape, arguments)])
    lines = [f"# {PROGRAM} {name}", "", *command.help.splitlines(), ""]
    lines += ["```text", usage, "```", ""]
    if arguments:
        lines += ["## Arguments", "", *_table((_shape(a), _help(a)) for a in arguments)]
    # The options that every command has come last, whatever the others' order is.
    options.sort(key=lambda option: option.rich_help_panel == _COMMON)
    for panel, of_panel in groupby(options, key=lambda option: option.rich_help_panel):
        lines += [f"## {panel or 'Options'}", ""]
        lines += _table((_flags(option), _help(option)) for option in of_panel)
    return "\n".join(lines)


def index_of(found: dict[str, Any]) -> str:
    """Return the page that leads to the others."""
    lines = [
        "# Commands",
        "",
        "Results go to standard output. An error is one line and mostly a hint on standard error, ",
        "with the [exit code of its class](../reference/errors.md). With `--json` a command prints",
        "[one JSON object](../reference/json.md).",
        "",
        *_table(
            (f"[{name}]({name}.md)", command.help.split("\n\n")[0])
            for name, command in found.items()
        ),
    ]
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
    for name, text in [("index", index_of(found)), *((n, page_of(n, c)) for n, c in found.items())]:
        with mkdocs_gen_files.open(f"commands/{name}.md", "w") as page:
            page.write(text)


write()
