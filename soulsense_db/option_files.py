"""The files that ``soulsense_`` options are in: alembic.ini and pyproject.toml."""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from soulsense_db.errors import OptionError

PREFIX = "soulsense_"
MAIN_SECTION = "alembic"
URL_OPTION = "sqlalchemy.url"


def read_options(path: Path, wanted: Callable[[str], bool] | None = None) -> dict[str, str]:
    """Return the options of an alembic.ini or pyproject.toml, empty without a section.

    ``wanted``: for which names, in lower case; by default :func:`is_ours`. ``%(here)s`` is the
    directory of the file, as in Alembic. Raises :class:`OptionError` when it cannot be read, also
    when it is not there; the text of an option, which may be a password, is in no message.
    """
    wanted = wanted or is_ours
    here = str(path.absolute().parent)
    if path.suffix == ".toml":
        return _options_of_toml(path, here, wanted)
    with _reading(path):
        parser = configparser.ConfigParser({"here": here})
        parser.read_string(_text_of(path))
    require_none_misplaced(parser, {MAIN_SECTION})
    names = parser.options(MAIN_SECTION) if parser.has_section(MAIN_SECTION) else []
    found = {}
    for name in filter(wanted, names):
        try:
            found[name] = parser.get(MAIN_SECTION, name)
        except configparser.Error:
            raise _unreadable(path, f"{name} has a single %; write %% for a percent sign") from None
    return found


def read_table(path: Path, name: str) -> dict[str, Any]:
    """Return the table ``name`` of a TOML file, such as ``tool.alembic``; empty without it.

    Raises :class:`OptionError` when the file cannot be read, also when it is not there.
    """
    with _reading(path):
        found: Any = tomllib.loads(_text_of(path))
    for table in name.split("."):
        found = found.get(table, {})
        if not isinstance(found, dict):
            raise _unreadable(path, f"'{table}' is not a table")
    return dict(found)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error.strerror or "no reason given") from error
    except configparser.ParsingError as error:  # the text of it quotes the line
        raise _unreadable(path, "it has a line that is not valid") from error
    except (configparser.Error, ValueError, RecursionError) as error:
        raise _unreadable(path, (str(error) or "too deep").splitlines()[0]) from error


def _text_of(path: Path) -> str:
    if path.exists() and not path.is_file():  # a pipe would let us wait for ever
        raise _unreadable(path, "it is not a file")
    return path.read_text(encoding="utf-8")


def require_none_misplaced(parser: configparser.ConfigParser, sections: Collection[str]) -> None:
    """Raise :class:`OptionError` for an option of ours in a section that nobody reads.

    As one that is misspelt: who appends a line to alembic.ini adds it to a section of a logger.
    ``sections``: those that are read; one with a ``script_location`` is read by ``alembic -n``.
    """
    for section in parser.sections():
        if section in sections or parser.has_option(section, "script_location"):
            continue
        for name in parser.options(section):
            if is_ours(name) and name not in parser.defaults():
                raise OptionError(
                    f"The option '{name}' is in section [{section}], where it has no effect.",
                    hint=f"Move it to section [{MAIN_SECTION}].",
                )


def is_ours(name: str) -> bool:
    """Whether an option is one of this package."""
    return name.startswith(PREFIX)


def is_url(name: str) -> bool:
    """Whether an option is the URL of the database."""
    return name == URL_OPTION


def _options_of_toml(path: Path, here: str, wanted: Callable[[str], bool]) -> dict[str, str]:
    found = read_table(path, "tool.alembic")
    return {
        name.lower(): text_of_toml(value).replace("%(here)s", here)
        for name, value in found.items()
        if wanted(name.lower())
    }


def _unreadable(path: Path, reason: str) -> OptionError:
    return OptionError(
        f"{path} cannot be read ({reason}).",
        hint="Correct it, or name another file with --config.",
    )


def text_of_toml(value: object) -> str:
    """Return a value of a TOML file as an ini file has it: of a list, a line for each."""
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
