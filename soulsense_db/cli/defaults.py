"""Where an option has its value from: command line, environment, ``[tool.soulsense-db]``.

One rule for all: ``--keep-daily`` of ``prune`` is the variable ``SOULSENSE_PRUNE_KEEP_DAILY`` and
the key ``keep-daily`` of ``[tool.soulsense-db.prune]``. Without the command's name both are for
every command that has the option.
"""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from soulsense_db.cli.grammar import commands_of
from soulsense_db.errors import BackupError, OptionError
from soulsense_db.finding import Place, place_of_application, place_of_engine, place_of_url
from soulsense_db.fs import storage_errors, why_not_obeyed
from soulsense_db.notices import log_ignored
from soulsense_db.option_errors import unknown_option
from soulsense_db.option_files import read_table
from soulsense_db.retention import COUNTS
from soulsense_db.settings import URL_VARIABLE

PROJECT_FILE = Path("pyproject.toml")
TABLE = "tool.soulsense-db"
DRILL_TABLE = f"{TABLE}.drill"
"""What a drill requires: no table of a command, for several make drills."""
DATABASE_OPTIONS = ("url", "engine", "app")
_PLACES: dict[str, Callable[[str, str], Place]] = {
    "url": place_of_url,
    "engine": place_of_engine,
    "app": place_of_application,
}
_VARIABLES = (URL_VARIABLE, "SOULSENSE_ENGINE", "SOULSENSE_APP")
_TABLE_READ = "soulsense_db.table"
_PREFIX = "SOULSENSE"
_OTHER_NAMES = {"--url": (URL_VARIABLE,)}
# What the program is asked, not told; and which rows are meant, which is said each time.
_QUESTIONS = {"--help", "--version"}
_QUESTIONS |= {"--table", "--where", "--replace", "--with-parents", "--with-children"}
_QUESTIONS |= {"--without-column"}
_RULES = {*COUNTS, "keep_within", "max_total_size", "allow_empty"}
_RULES |= {f"mirror_{name}" for name in _RULES}


def with_variables(parameter: inspect.Parameter, command: str) -> inspect.Parameter:
    """Return ``parameter`` of ``command`` with the environment variables of its option."""
    type_, *metadata = get_args(parameter.annotation) or (parameter.annotation,)
    changed = []
    for one in metadata:
        if isinstance(one, typer.models.OptionInfo):
            # In an Annotated, the first name is where a default would be.
            flag = _flag_of([str(one.default), *(one.param_decls or ())])
            option = copy.copy(one)  # the common options are declared once for all commands
            option.envvar = [] if flag in _QUESTIONS else list(variables_of(flag, command))
            option.show_envvar = False
            changed.append(option)
        else:
            changed.append(one)
    if not changed:
        return parameter
    return parameter.replace(annotation=Annotated[(type_, *changed)])


def variables_of(flag: str, command: str) -> tuple[str, ...]:
    """Return the environment variables of an option, the one that counts first first."""
    name = _as_variable(flag.removeprefix("--"))
    return (
        f"{_PREFIX}_{_as_variable(command)}_{name}",
        f"{_PREFIX}_{name}",
        *_OTHER_NAMES.get(flag, ()),
    )


def _as_variable(name: str) -> str:
    return name.replace("-", "_").replace(" ", "_").upper()


def _flag_of(declarations: Iterable[str]) -> str:
    """Return the first long name; of a switch that can be off as well, the one that is on."""
    return next(word for word in declarations if word.startswith("--")).partition("/")[0]


def read_defaults(context: typer.Context, value: Path | None) -> Path | None:
    """Take the defaults of all options from ``[tool.soulsense-db]``; the callback of --config.

    Returns the configuration file: the one that is given, else the one of the table.
    """
    try:
        return _read_defaults(context, value)
    except BackupError as error:
        if not context.resilient_parsing:  # of a shell that completes, which shows no error
            raise
        log_ignored(f"[{TABLE}] cannot be used", error)
        return value


def _read_defaults(context: typer.Context, value: Path | None) -> Path | None:
    context.meta[_TABLE_READ] = _read_project(value)
    table = table_read(context)[1]
    commands = _commands(context)
    _require_known(table, commands)
    command = name_of(context).replace(" ", "-")
    merged = {key: entry for key, entry in table.items() if not isinstance(entry, dict)}
    own = table.get(command)
    if isinstance(own, dict):  # else it is an option with the name of a command: config
        merged |= own
    defaults = {}
    for parameter in _options(commands.get(command, context.command)):
        key = _key_of(parameter)
        if key in merged:
            defaults[parameter.name] = _checked(key, merged[key], parameter)
    context.default_map = defaults
    if value is None and defaults.get("config"):
        return Path(defaults["config"])
    return value


def _read_project(config: Path | None) -> tuple[Path, dict[str, Any]]:
    """Return ``[tool.soulsense-db]`` and its file: ``config``, or ./pyproject.toml if that is safe.

    Of the current directory, a file that another user can write is not obeyed.
    """
    path = PROJECT_FILE if config is None else config
    if path.suffix != ".toml":
        return path, {}
    if config is None:
        with storage_errors("read", path):
            if not path.exists() or why_not_obeyed(path):
                return path, {}
    return path, read_table(path, TABLE)


def table_read(context: typer.Context) -> tuple[Path, dict[str, Any]]:
    """Return the file whose ``[tool.soulsense-db]`` counts, and that table."""
    found: tuple[Path, dict[str, Any]] = context.meta.get(_TABLE_READ, (PROJECT_FILE, {}))
    return found


def drill_table(context: typer.Context) -> dict[str, Any]:
    """Return ``[tool.soulsense-db.drill]``; an option of that name is none."""
    table = table_read(context)[1].get(DRILL_TABLE.rpartition(".")[2])
    return table if isinstance(table, dict) else {}


def name_of(context: typer.Context) -> str:
    """Return the name of the command of ``context``, such as ``auto`` or ``mirror sync``."""
    words: list[str] = []
    at: Any = context
    while at.parent is not None:
        words.append(at.command.name or "")
        at = at.parent
    return " ".join(reversed(words))


def _commands(context: typer.Context) -> dict[str, Any]:
    """Return all commands as ``[tool.soulsense-db]`` names them: ``auto``, ``mirror-sync``."""
    found = commands_of(context.find_root().command)
    return {name.replace(" ", "-"): command for name, command in found.items()}


def _options(command: Any) -> Iterator[Any]:
    for parameter in command.params:
        if parameter.param_type_name == "option" and _flag_of(parameter.opts) not in _QUESTIONS:
            yield parameter


def _key_of(parameter: Any) -> str:
    return _flag_of(parameter.opts).removeprefix("--")


def _require_known(table: Mapping[str, Any], commands: Mapping[str, Any]) -> None:
    known = {name: set(map(_key_of, _options(command))) for name, command in commands.items()}
    everywhere = set().union(*known.values())
    for key, entry in table.items():
        if not isinstance(entry, dict):
            _require_key(key, everywhere, TABLE)
        elif f"{TABLE}.{key}" == DRILL_TABLE:  # what is in it, says who reads it
            continue
        elif key not in known:
            raise OptionError(
                f"[{TABLE}.{key}] is for no command.",
                hint=f"The commands are: {', '.join(sorted(known))}.",
            )
        else:
            for name in entry:
                _require_key(name, known[key], f"{TABLE}.{key}")


def _require_key(key: str, known: set[str], table: str) -> None:
    if key not in known:
        raise unknown_option(key, known, table=table)


def _checked(key: str, value: object, parameter: Any) -> Any:
    """Return ``value`` as Click takes it."""
    if parameter.is_flag:
        if isinstance(value, bool):
            return value
        raise OptionError(f"'{key}' of [{TABLE}] is no switch.", hint="Set it to true or false.")
    if parameter.multiple:
        values = value if isinstance(value, list) else [value]
        return [_text(key, one) for one in values]
    return _text(key, value)


def _text(key: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise OptionError(
            f"'{key}' of [{TABLE}] is neither a text nor a number.", hint="Correct the line."
        )
    return str(value)


# Where a value comes from


def origin_of(context: typer.Context, name: str) -> str:
    """Return where the parameter ``name`` has its value from; empty for its default."""
    source = context.get_parameter_source(name)
    word = "DEFAULT" if source is None else source.name
    parameter = next((one for one in context.command.params if one.name == name), None)
    if word == "COMMANDLINE":
        return "the command line"
    if word == "ENVIRONMENT" and parameter is not None:
        return next(one for one in parameter.envvar or () if os.environ.get(one))
    return f"[{TABLE}]" if word == "DEFAULT_MAP" else ""


def all_variables(context: typer.Context) -> Iterator[str]:
    """Yield the environment variables of all options of all commands."""
    for command in _commands(context).values():
        for parameter in command.params:
            yield from parameter.envvar or ()


def variable_set(context: typer.Context, name: str) -> Iterator[tuple[str, str]]:
    """Yield the environment variable that sets the parameter ``name``, and its value."""
    for parameter in context.command.params:
        if parameter.name == name:
            variables = parameter.envvar or ()
            yield from [(one, os.environ[one]) for one in variables if os.environ.get(one)][:1]


def text_of_variable(context: typer.Context | None, name: str) -> str | None:
    """Return the text of the environment variable that the option ``name`` has its value from."""
    if context is None or is_typed(context, name):
        return None
    return next((text for _, text in variable_set(context, name)), None)


def places_of_options(context: typer.Context, named: Mapping[str, str]) -> Iterator[Place]:
    """Yield the places of the command line, of the environment and of ``[tool.soulsense-db]``.

    ``named``: what names the database on the command line, by the name of the option.
    """
    yield from places_typed(named)
    in_environment = [
        _PLACES[name](variable, value)
        for name in DATABASE_OPTIONS
        for variable, value in variable_set(context, name)
    ]
    yield from in_environment or [Place(name=", ".join(_VARIABLES), why_not="not set")]
    path = table_read(context)[0]
    if path.suffix != ".toml":  # --config names a file that has no such table
        return
    table, where = context.default_map or {}, f"[{TABLE}] of {path}"
    in_table = [_PLACES[name](where, table[name]) for name in DATABASE_OPTIONS if name in table]
    yield from in_table or [Place(name=where, why_not="names no database")]


def places_typed(named: Mapping[str, str]) -> Iterator[Place]:
    """Yield the place of the command line alone."""
    typed = [_PLACES[name](f"--{name}", value) for name, value in named.items()]
    yield from typed or [Place(name="--url, --engine, --app", why_not="not given")]


def is_typed(context: typer.Context, name: str) -> bool:
    """Whether the parameter ``name`` was given on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def without_rules_of_another(context: typer.Context, arguments: dict[str, Any]) -> bool:
    """Drop the retention rules of a table that is not about the database; whether there were any.

    A file that lies in the current directory may be another project's: what it says of a database
    that the command line names must not remove backups.
    """
    named = any(is_typed(context, name) for name in DATABASE_OPTIONS)
    if not named or is_typed(context, "config"):
        return False
    rules = [
        name
        for name in _RULES & set(arguments)
        if origin_of(context, name) == f"[{TABLE}]" and arguments[name]
    ]
    for name in rules:
        arguments[name] = False if name.endswith("allow_empty") else None
    return bool(rules)
