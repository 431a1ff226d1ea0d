"""What a shell offers for a word that names a backup, a kind or a revision.

A person waits for it at every press of Tab, so that this imports nothing but small parts of the
standard library: the program itself takes longer to be imported than an answer may take. It
reads, and never writes, locks, makes or reports anything. Commands and options are Typer's.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

VARIABLE = "_SOULSENSE_DB_COMPLETE"
"""How a shell asks; the same as Typer's."""
KINDS = ("manual", "automatic", "pre_migration", "pre_restore", "imported")
REF_COMMANDS = {"show", "verify", "restore", "delete", "pin", "unpin", "adopt", "export", "diff"}
VALUE_OPTIONS = {
    *(
        "--url",
        "--engine",
        "--app",
        "--config",
        "--directory",
        "--catalog-table",
        "--compression",
        "--recipient",
        "--identity-file",
        "--work-directory",
        "--tools",
        "--jobs",
        "--mirror",
        "--mirror-folder",
        "--mirror-deadline",
        "--from",
        "--on",
        "--timeout",
        "--x-argument",
        "-x",
        "--within-days",
        "--level",
        "--kind",
        "--since",
        "--until",
    ),
    *("--revision", "--keep-last", "--keep-hourly", "--keep-daily", "--keep-weekly"),
    *("--keep-monthly", "--keep-yearly", "--keep-within", "--max-total-size", "--warning-age"),
    *("--mirror-keep-last", "--mirror-keep-hourly", "--mirror-keep-daily"),
    *("--mirror-keep-weekly", "--mirror-keep-monthly", "--mirror-keep-yearly"),
    *("--mirror-keep-within", "--mirror-max-total-size"),
    *("--table", "--rows", "--html", "--junit", "--where", "--without-column", "--triggers"),
    *(
        "--critical-age",
        "--warning-free",
        "--critical-free",
        "--critical-drill",
        "--ping",
        "--notify",
        "--prometheus",
    ),
}
"""The options that take a value."""

_NAMING = frozenset({"--url", "--engine", "--app"})
_DEFAULT_URL = "sqlite:///data/soulsense.db"
_STOCK_URL = "driver://user:pass@localhost/dbname"
_NAME = re.compile(r"soulsense_backup_\d{8}_\d{6}.*\.db(\.zst|\.diff)?(\.age)?\.meta", re.DOTALL)
_MOST = 50
_USUAL_BYTES = 4096
_MOST_BYTES = 1_000_000
_SECONDS = 0.12
"""Of the processor, from the start of the process: older backups are not looked at then."""
_HARMLESS = re.compile(r"[\w.~:/-]+")
_READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)

Facts = dict[str, Any]


class Offer(NamedTuple):
    """A word that could stand there, and what it means."""

    word: str
    meaning: str = ""


def answer(environment: Mapping[str, str]) -> tuple[str, int] | None:
    """Return what to print and the exit code; None where the shell asks for something else."""
    shell = environment.get(VARIABLE, "").removeprefix("complete_")
    words, incomplete = _words_of(shell, environment)
    offers = _offers(words, incomplete, environment)
    if offers is None:
        return None
    offers = [offer for offer in offers if _HARMLESS.fullmatch(offer.word)]
    if shell == "fish" and environment.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return "", 0 if offers else 1
    return _printed(shell, offers), 0


# What is asked for


def _words_of(shell: str, environment: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the words before the one to complete, without the program, and that one."""
    if shell == "bash":
        raw = environment.get("COMP_WORDS", "").split("\n")
        if len(raw) == 1:
            raw = raw[0].split(" ")
        at = int(environment.get("COMP_CWORD", "0"))
        words = [*map(_unquoted, raw), ""][: at + 1]
    else:
        line = environment.get("_TYPER_COMPLETE_ARGS", "")
        words = [_unquoted(word) for word in _split(line)]
        if line.endswith((" ", "\t")) or not words[1:]:
            words.append("")
    # Bash parts words at = and : as well.
    before = [word for word in words[1:-1] if word != "="]
    return before, "" if words[-1] == "=" else words[-1]


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quote that is still open
        return line.split()


def _unquoted(word: str) -> str:
    return " ".join(_split(word)) if word[:1] in {"'", '"'} else word


def _offers(
    before: list[str], incomplete: str, environment: Mapping[str, str]
) -> list[Offer] | None:
    options, positional = _parsed(before)
    command = positional[0] if positional else ""
    last = before[-1] if before else ""
    name, separator, value = incomplete.partition("=")
    if separator and name in {"--kind", "--revision"}:  # --kind=man
        found = _values_of(name, value, options, environment)
        return [Offer(f"{name}={offer.word}", offer.meaning) for offer in found]
    if last in {"--kind", "--revision"}:
        return _values_of(last, incomplete, options, environment)
    if last == "--on":  # its value is a REF, whatever else is there
        command, positional, last = "restore", [], ""
    if last in VALUE_OPTIONS or incomplete.startswith("-") or command not in REF_COMMANDS:
        return None
    if before[-2:] == ["revision", ":"] or (last == "revision" and incomplete == ":"):
        return _revisions(incomplete.removeprefix(":"), options, environment)
    if positional[2 if command == "diff" else 1 :]:
        return None
    return _references(incomplete, options, environment)


def _parsed(before: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options with a value, and the words that are neither."""
    options: dict[str, str] = {}
    positional: list[str] = []
    words = iter(before)
    for word in words:
        name, separator, value = word.partition("=")
        if name in VALUE_OPTIONS:
            options[name] = value if separator else next(words, "")
        elif not word.startswith("-"):
            positional.append(word)
    return options, positional


# What is offered


def _values_of(
    name: str, incomplete: str, options: dict[str, str], environment: Mapping[str, str]
) -> list[Offer]:
    if name == "--kind":
        return [Offer(kind) for kind in KINDS if kind.startswith(incomplete)]
    return _revisions(incomplete, options, environment)


def _references(
    incomplete: str, options: dict[str, str], environment: Mapping[str, str]
) -> list[Offer]:
    if incomplete.startswith("revision:"):
        beginning = incomplete.removeprefix("revision:")
        heads = _revisions(beginning, options, environment)
        return [Offer(f"revision:{head.word}", head.meaning) for head in heads]
    if incomplete.startswith("soulsense_"):
        directory, _ = _place(options, environment)
        names = (name.removesuffix(".meta") for name in _newest_first(directory))
        return [Offer(name) for name in names if name.startswith(incomplete)][:_MOST]
    offers = [Offer("latest", "the newest backup")] if "latest".startswith(incomplete) else []
    found = (
        facts
        for facts in _backups(f'"id": "{incomplete}', options, environment)
        if str(facts["id"]).startswith(incomplete)
    )
    # The names of backups that were taken in one second tell nothing of their order.
    newest = sorted(islice(found, _MOST), key=lambda one: str(one["created_at"]), reverse=True)
    return [*offers, *(Offer(str(one["id"]), _meaning(one)) for one in newest)]


def _revisions(
    incomplete: str, options: dict[str, str], environment: Mapping[str, str]
) -> list[Offer]:
    found: dict[str, Offer] = {}
    for facts in _backups('"alembic_heads": [', options, environment):
        for head in map(str, facts["alembic_heads"]):
            if head.startswith(incomplete) and head not in found:
                found[head] = Offer(head, f"newest backup: {_meaning(facts)}")
    return list(found.values())[:_MOST]


def _meaning(facts: Facts) -> str:
    taken = datetime.fromisoformat(str(facts["created_at"])).astimezone()
    what = facts.get("description") or facts.get("kind") or ""
    # Shells evaluate what is printed: nothing of a description may mean something to them.
    return re.sub(r"[^\w .,:+/-]", " ", f"{taken:%Y-%m-%d %H:%M}  {str(what)[:40]}").rstrip()


def _backups(part: str, options: dict[str, str], environment: Mapping[str, str]) -> Iterator[Facts]:
    """Yield the facts of the newest backups first, where the meta file has ``part`` in it."""
    import json

    directory, database = _place(options, environment)
    wanted = part.encode(errors="surrogateescape")
    relative = os.path.relpath(database, directory) if database is not None else None
    for number, name in enumerate(_newest_first(directory)):
        # A slow machine offers the newest ones all the same.
        if number >= _MOST and time.process_time() > _SECONDS:
            return
        text = _read(f"{directory}/{name}")
        if wanted not in text:
            continue
        try:
            facts = json.loads(text)
            path = facts["database_path"]
            # Which database an engine leads to is not known: then all that is there may be meant.
            if (
                database is None
                or path in {None, str(database)}
                or facts.get("database_relative") == relative
            ):
                yield facts
        except (ValueError, TypeError, KeyError, AttributeError):  # none of ours, or damaged
            continue


def _newest_first(directory: Path) -> list[str]:
    try:
        names = os.listdir(directory)
    except OSError:  # none was made yet, or it is not ours to read
        return []
    return sorted((name for name in names if _NAME.fullmatch(name)), reverse=True)


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, _READ_ONLY)
    except OSError:
        return b""
    try:
        beginning = os.read(descriptor, _USUAL_BYTES)
        if len(beginning) < _USUAL_BYTES:
            return beginning
        return beginning + os.read(descriptor, _MOST_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


# Where the backups are


def _place(options: dict[str, str], environment: Mapping[str, str]) -> tuple[Path, Path | None]:
    """Return the backup directory and the database that a command with ``options`` works on.

    The application's code, which a command may ask, is not run for a press of Tab.
    """
    given = _given(options, environment)
    configured = _configured(next((one["--config"] for one in given if one.get("--config")), None))
    url = next((_url_of(one) for one in given if not _NAMING.isdisjoint(one)), None)
    database = _file_of(url or configured.get("sqlalchemy.url") or _DEFAULT_URL)
    directory = next((one["--directory"] for one in given if one.get("--directory")), None)
    directory = directory or configured.get("soulsense_backup_directory")
    if directory:
        return Path(os.path.realpath(directory)), database
    return (database.parent if database else Path.cwd()) / "backups", database


def _given(options: dict[str, str], environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the options that are typed, in the environment, and in pyproject.toml."""
    names = ("--url", "--engine", "--app", "--directory", "--config")
    variables = {name: f"SOULSENSE_{name[2:].upper()}" for name in names}
    in_environment = {name: environment.get(one, "") for name, one in variables.items()}
    in_environment["--url"] = environment.get("SOULSENSE_DATABASE_URL") or in_environment["--url"]
    table = _tables_of(Path("pyproject.toml")).get("soulsense-db", {})
    in_table = {name: str(table.get(name[2:], "")) for name in names}
    return [
        {name: value for name, value in one.items() if value}
        for one in (options, in_environment, in_table)
    ]


def _url_of(given: Mapping[str, str]) -> str:
    # What an engine or a Flask application leads to is not known without its code.
    return given.get("--url") or "://"


def _file_of(url: str) -> Path | None:
    if "://" in url:
        scheme, _, rest = url.partition("://")
        if not scheme.startswith("sqlite"):
            return None
        url = rest.removeprefix("/").partition("?")[0].removeprefix("file:")
    return Path(os.path.realpath(url)) if url else None


def _configured(named: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in [Path(named)] if named else [Path("pyproject.toml"), Path("alembic.ini")]:
        if path.is_file():
            options = _options_of(path)
            if options.get("sqlalchemy.url") == _STOCK_URL:
                del options["sqlalchemy.url"]
            found |= options
    return found


def _options_of(path: Path) -> dict[str, str]:
    import configparser

    here = str(path.absolute().parent)
    if path.suffix == ".toml":
        table = _tables_of(path).get("alembic", {})
        return {name: str(value).replace("%(here)s", here) for name, value in table.items()}
    try:
        text = path.read_text(encoding="utf-8")
        parser = configparser.ConfigParser({"here": here})
        parser.read_string(text)
        return dict(parser["alembic"])
    except (OSError, ValueError, KeyError, AttributeError, configparser.Error):
        return {}


def _tables_of(path: Path) -> dict[str, Facts]:
    """Return the tables below ``[tool]``, none of a file that cannot be read."""
    import tomllib

    try:
        tool = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]
        return {name: table for name, table in tool.items() if isinstance(table, dict)}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}


# How it is printed


def _printed(shell: str, offers: list[Offer]) -> str:
    if shell == "zsh":
        if not offers:
            return "_files"
        lines = "\n".join(map(_for_zsh, offers))
        return f"_arguments '*: :(({lines}))'"
    if shell == "fish":
        return "\n".join(f"{offer.word}\t{offer.meaning}".rstrip("\t") for offer in offers)
    if shell in {"powershell", "pwsh"}:
        return "\n".join(f"{offer.word}:::{offer.meaning or ' '}" for offer in offers)
    if len(offers) == 1:  # bash types it: the word alone
        return offers[0].word
    return "\n".join(f"{offer.word}  {offer.meaning}".rstrip() for offer in offers)


def _for_zsh(offer: Offer) -> str:
    word, meaning = (text.replace(":", r"\\:") for text in offer)
    return f'"{word}":"{meaning}"' if meaning else f'"{word}"'
