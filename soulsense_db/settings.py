"""The ``soulsense_`` options of alembic.ini and pyproject.toml."""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from soulsense_db.catalog import catalog_option
from soulsense_db.codecs import Compression
from soulsense_db.errors import OptionError
from soulsense_db.retention import COUNTS, Period, RetentionPolicy, parse_size

PREFIX = "soulsense_"
MAIN_SECTION = "alembic"
URL_OPTION = "sqlalchemy.url"
URL_VARIABLE = "SOULSENSE_DATABASE_URL"
"""The environment variable in which the command line and the guide's functions find the URL."""
DEFAULT_URL = "sqlite:///data/soulsense.db"
"""The URL they use otherwise: SoulSense's own database."""
DEFAULT_FILES = ("pyproject.toml", "migrations/alembic.ini", "alembic.ini")
"""Where options are looked for in the current directory; the later one wins."""

_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}
_KNOWN = {
    *("soulsense_backup", "soulsense_backup_directory", "soulsense_on_failure"),
    *("soulsense_catalog_table", "soulsense_keep_within", "soulsense_max_total_size"),
    *("soulsense_attached", "soulsense_compression"),
    *(PREFIX + name for name in COUNTS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the options say.

    ``protects``: whether migrations are protected with env.py untouched (``soulsense_backup``);
    ``directory``: of the backups, None for the default; ``restores``: whether a migration that
    fails is put back (``soulsense_on_failure``); ``ignores_attached``: whether it may run with
    other database files attached, which are not backed up (``soulsense_attached``); ``catalog``:
    name of our table, False for none, True for the default (``soulsense_catalog_table``);
    ``compression``: of new backups (``soulsense_compression``), None for none; ``retention``: of
    ``soulsense_keep_...`` and ``soulsense_max_total_size``, None when none of them is set.
    """

    protects: bool = False
    directory: Path | None = None
    restores: bool = True
    ignores_attached: bool = False
    catalog: str | bool = True
    compression: Compression | None = None
    retention: RetentionPolicy | None = None

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Self:
        """Read them from ``options``, whose other names are none of ours.

        Raises :class:`OptionError` for a value that means nothing and for a ``soulsense_`` name
        that nobody reads: a misspelt rule would let backups be removed that it should keep.
        """
        options = {name.lower(): text.strip() for name, text in options.items()}
        _require_known(options)
        directory = options.get("soulsense_backup_directory")
        on_failure = options.get("soulsense_on_failure") or "restore"
        if on_failure not in {"restore", "keep"}:
            raise _bad("soulsense_on_failure", on_failure, "restore or keep")
        attached = options.get("soulsense_attached") or "refuse"
        if attached not in {"refuse", "ignore"}:
            raise _bad("soulsense_attached", attached, "refuse or ignore")
        return cls(
            protects=as_bool("soulsense_backup", options.get("soulsense_backup", "false")),
            directory=Path(directory) if directory else None,
            restores=on_failure == "restore",
            ignores_attached=attached == "ignore",
            catalog=catalog_option(options.get("soulsense_catalog_table")),
            compression=Compression.of(options.get("soulsense_compression")),
            retention=_retention(options),
        )


def as_bool(name: str, text: str) -> bool:
    """Return what ``text`` of the option ``name`` means; raises :class:`OptionError`."""
    if text.lower() in _YES | _NO:
        return text.lower() in _YES
    raise _bad(name, text, "true or false")


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
        name.lower(): str(value).lower() if isinstance(value, bool) else _replaced(value, here)
        for name, value in found.items()
        if wanted(name.lower())
    }


def _unreadable(path: Path, reason: str) -> OptionError:
    return OptionError(
        f"{path} cannot be read ({reason}).",
        hint="Correct it, or name another file with --config.",
    )


def _replaced(value: object, here: str) -> str:
    return str(value).replace("%(here)s", here)


def _require_known(names: Iterable[str]) -> None:
    for name in names:
        if name.startswith(PREFIX) and name not in _KNOWN:
            raise OptionError(
                f"There is no option '{name}'.",
                hint=f"The options are: {', '.join(sorted(_KNOWN))}.",
            )


def _retention(options: Mapping[str, str]) -> RetentionPolicy | None:
    for name, text in options.items():
        if name.startswith(("soulsense_keep_", "soulsense_max_")) and not text:
            raise _bad(name, text, "a value, or remove the line")
    rules: dict[str, Any] = {
        name: _number(PREFIX + name, options[PREFIX + name])
        for name in COUNTS
        if options.get(PREFIX + name)
    }
    if within := options.get("soulsense_keep_within"):
        rules["keep_within"] = Period.parse(within)
    if size := options.get("soulsense_max_total_size"):
        rules["max_total_size"] = parse_size(size)
    return with_rules(RetentionPolicy(**rules)) if rules else None


def with_rules(policy: RetentionPolicy) -> RetentionPolicy:
    """Return ``policy``; raise :class:`OptionError` for one that was written and says nothing."""
    if policy.is_empty:
        raise OptionError(
            "A retention policy of zeros (keep_last 0 ...) removes nothing.",
            hint="Set at least one rule to 1 or more, or to -1 for all.",
        )
    return policy


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _bad(name, text, "a whole number, or -1 for all") from None


def _bad(name: str, value: str, allowed: str) -> OptionError:
    return OptionError(f"{name} is '{value}'.", hint=f"Set it to {allowed}.")
