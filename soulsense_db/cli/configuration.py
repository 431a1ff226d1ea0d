"""The command that shows which database is meant, and which options hold: config."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from soulsense_db.cli import commands, defaults
from soulsense_db.cli.grammar import SETTING_UP
from soulsense_db.cli.output import print_table
from soulsense_db.cli.session import Session
from soulsense_db.codecs import holds_secret
from soulsense_db.errors import BackupError, DatabaseFileNotFoundError, without_passwords
from soulsense_db.finding import Place
from soulsense_db.settings import KEY_VARIABLE, PASSPHRASE_VARIABLE

_USED = "used"
# Options and variables: anyone who knows such a URL can use it; a command may hold a password.
_SECRETS = ("ping", "notify", "soulsense_identity", "passphrase", "identity_command")


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    commands.add(app, config, panel=SETTING_UP, example="config")


@dataclass(frozen=True, slots=True)
class _Option:
    """An option that is set: its name, its value without passwords, and where it is set."""

    name: str
    value: str
    source: str


def config(session: Session) -> dict[str, Any]:
    """Show which database is meant, where it is named, and the options that are set."""
    places = list(session.places())
    manager, found = session.manager, session.found
    is_there: bool | None = True
    problem: BackupError | None = None
    try:
        manager.live.require()
    except BackupError as error:  # where it is looked for is what somebody wants to know then
        is_missing = isinstance(error, DatabaseFileNotFoundError)
        is_there, session.exit_code = (False if is_missing else None), error.exit_code
        problem = None if is_missing else error
    options = list(_options(session))
    looked = [
        (place, *_result(place, found.place, is_found=at == len(found.before)))
        for at, place in enumerate(places)
    ]
    if session.talks:
        missing = {True: "", False: " (not there)", None: " (not reached)"}[is_there]
        rows = [
            ("database", f"{manager.live.name}{missing}"),
            ("named by", f"{found.place.name}: {found.place.says}"),
            ("backups", str(manager.directory)),
        ]
        if problem is not None:
            rows.insert(1, ("problem", problem.what))
        print_table(("", ""), rows, fold=True)
        session.say("")
        session.say("Looked at, the first that names a database counts:")
        print_table(
            ("", "", ""), [(place.name, *told) for place, *told in looked], indent=2, fold=True
        )
        if options:
            session.say("")
            session.say("Options that are set:")
            rows3 = [(option.name, option.value, option.source) for option in options]
            print_table(("", "", ""), rows3, indent=2, fold=True)
    return {
        "database": manager.live.name,
        "exists": is_there,
        "problem": "" if problem is None else problem.what,
        "named_by": found.place.name,
        "says": found.place.says,
        "directory": str(manager.directory),
        "looked_at": [
            {
                "place": place.name,
                "says": place.says,
                "used": told[0] == _USED,
                "why_not": "" if told[0] == _USED else told[1],
            }
            for place, *told in looked
        ],
        "options": [
            {"name": option.name, "value": option.value, "source": option.source}
            for option in options
        ],
    }


def _result(place: Place, found: Place, *, is_found: bool) -> tuple[str, str]:
    """Return what became of a place, and why."""
    if is_found:
        return _USED, place.says
    if place.open is None:
        return "-", place.why_not
    same = " and says the same" if place.says == found.says else f": {place.says}"
    return "not used", f"comes after {found.name}{same}"


def _options(session: Session) -> Iterator[_Option]:
    """Yield the options that are set in a file or the environment, or typed."""
    yield from _typed(session)
    yield from _in_environment(session)
    yield from _in_table(session)
    yield from _of_alembic(session)


def _typed(session: Session) -> Iterator[_Option]:
    given: dict[str, object] = {"--config": session.config, "--directory": session.directory}
    given |= {"--catalog-table": session.catalog_table, **session.forms.by_option}
    assert session.context is not None
    for name, value in given.items():
        if value not in (None, ()) and defaults.is_typed(session.context, _parameter_of(name)):
            yield _shown(name, value, "the command line")


def _parameter_of(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _in_environment(session: Session) -> Iterator[_Option]:
    assert session.context is not None
    seen = set()
    variables = (*defaults.all_variables(session.context), KEY_VARIABLE, PASSPHRASE_VARIABLE)
    for variable in variables:
        if variable not in seen and os.environ.get(variable):
            seen.add(variable)
            yield _shown(variable, os.environ[variable], "the environment")


def _in_table(session: Session) -> Iterator[_Option]:
    assert session.context is not None
    path, table = defaults.table_read(session.context)
    for key, value in table.items():
        if isinstance(value, dict):
            for name, one in value.items():
                yield _shown(f"{key} --{name}", one, f"[{defaults.TABLE}.{key}] of {path}")
        else:
            yield _shown(f"--{key}", value, f"[{defaults.TABLE}] of {path}")


def _of_alembic(session: Session) -> Iterator[_Option]:
    """Yield the options of Alembic's configuration; where two files disagree, the later won."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for path, options in session.files.options():
        for name, value in options.items():
            found.setdefault(name, []).append((path, value))
    for name, said in sorted(found.items()):
        path, value = said[-1]
        lost = ", ".join(f"{what} in {other}" for other, what in said[:-1] if what != value)
        yield _shown(name, value, f"{path}, not {lost}" if lost else str(path))


def _shown(name: str, value: object, source: str) -> _Option:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    if name.lower().endswith(_SECRETS) or holds_secret(text):
        text = "(set, not shown)"
    if isinstance(value, bool):
        text = text.lower()
    return _Option(name, without_passwords(text), source)
