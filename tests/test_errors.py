"""The error tree."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import itertools
import json
import os
import pickle
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy.engine import URL, make_url

import soulsense_db
from soulsense_db import errors
from soulsense_db.backup_info import FORMS, BackupInfo, Form
from soulsense_db.cli import output
from soulsense_db.codecs import (
    Identities,
    NewerStreamError,
    Secret,
    StreamError,
    TooLongError,
    TruncatedStreamError,
)
from soulsense_db.codecs.age_header import Header, Stanza
from soulsense_db.dialog.formatting import explain
from soulsense_db.drivers.postgresql.holders import Session
from soulsense_db.errors import (
    Action,
    BackupError,
    Command,
    DatabaseDamagedError,
    DatabaseError,
    DatabaseNotNamedError,
    IdentityError,
    InvalidBackupError,
    Outcome,
    PruneError,
    Remedy,
    RestoreError,
    StorageError,
)
from soulsense_db.mirrors import MirrorUrl
from soulsense_db.mirrors.object_store_errors import Said
from soulsense_db.operations import UpgradeReport


def _tree(root: type[BackupError] = BackupError) -> Iterator[type[BackupError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def _modules() -> Iterator[types.ModuleType]:
    """Yield every module of the package: an error may be made in any of them."""
    for found in pkgutil.walk_packages(soulsense_db.__path__, "soulsense_db."):
        # A script, and an old name that warns.
        if found.name not in {"soulsense_db.__main__", "soulsense_db.auto"}:
            yield importlib.import_module(found.name)


MODULES = list(_modules())
# An error may be of two branches.
CLASSES = [cls for cls in dict.fromkeys(_tree()) if cls.__module__.startswith("soulsense_db.")]
NOT_CHANGED = "Nothing was changed."


def test_every_exit_code_is_one_errors_own() -> None:
    """A script can tell every error from every other by its exit code, 1 to 127."""
    codes = [cls.exit_code for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(1 <= code <= 127 for code in codes)
    assert all("exit_code" in vars(cls) for cls in CLASSES)


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_survive_pickling(cls: type[BackupError]) -> None:
    """An error raised in a worker process arrives whole: class, message, hint, facts."""
    error = cls(
        "It broke.",
        outcome=Outcome.UNSURE,
        remedy=Remedy("Mend it.", (Command(Action.UNDO, "Or go back"),)),
        path=Path("app.db"),
        reason="no reason",
        candidates=["one", "two"],
        backup=Path("copy.db"),
        state="It is in two parts.",
    )
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is cls
    assert (copy.what, copy.facts) == (error.what, error.facts)
    assert (copy.message, copy.hint, str(copy)) == (error.message, error.hint, str(error))


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_without_a_remedy_is_only_its_message(cls: type[BackupError]) -> None:
    """No stray space or word is printed where there is nothing to advise."""
    error = cls("It broke")
    assert error.what == "It broke."
    assert str(error) == error.message
    assert error.hint == ""


def test_a_message_and_a_hint_make_an_error() -> None:
    """A driver of somebody else's raises an error with two texts; it says that nothing changed."""
    error = BackupError("It broke.", hint="Mend it.")
    assert str(error) == f"It broke. {NOT_CHANGED} Mend it."
    assert (error.message, error.hint) == (f"It broke. {NOT_CHANGED}", "Mend it.")
    assert error.outcome is Outcome.UNCHANGED


def test_who_knows_better_sets_the_outcome() -> None:
    """The error itself, its cause and its place stay; what it said of the data before does not."""
    error = PruneError("It broke.", state="It said more.", backup=Path("a.db"))
    assert error.with_outcome(Outcome.UNSURE) is error
    assert error.message == f"It broke. {Outcome.UNSURE.sentence} The previous database is in a.db."
    assert error.with_outcome(Outcome.PUT_BACK).message == f"It broke. {Outcome.PUT_BACK.sentence}"


def test_a_remedy_is_one_line_or_several() -> None:
    """A command is printed as a shell takes it, after what it is for; passwords are masked."""
    url = "mysql://me:secret@host/my db"
    undo = Command(Action.UNDO, "Go back", ("--url", url))
    assert undo.line == "soulsense-db undo --url 'mysql://me:***@host/my db'"
    remedy = Remedy("Mend\nit.", (undo, Command(Action.LIST, "Or look")))
    assert Remedy("Mend it.", (undo,)).lines == (f"Mend it. Go back: {undo.line}",)
    assert remedy.lines == ("Mend it.", f"Go back: {undo.line}", "Or look: soulsense-db list")
    assert str(remedy) == f"Mend it. Go back: {undo.line}   Or look: soulsense-db list"
    assert not Remedy()


def test_what_is_rendered_is_masked_and_printable() -> None:
    """Neither a password nor a character that acts is in what any face shows of an error."""
    bad = "mysql://me:secret@host\x1b[2J"
    path = Path(f"/{bad}")
    command = Command(Action.RESTORE, bad, (bad,))
    remedy = Remedy(bad, (command,))
    facts: dict[str, Any] = {"remedy": remedy, "path": path, "reason": bad, "backup": path}
    for error in (
        RestoreError(bad, outcome=Outcome.UNSURE, **facts),
        RestoreError(bad, state=bad, **facts),
    ):
        shown = explain(error)
        lines = [*_on_stderr(error), error.reason, *remedy.lines, *shown.hint.split("\n")]
        for text in [*lines, str(error), error.what, error.meaning, *_strings(_as_json(error))]:
            assert "secret" not in text, text
        for text in [*lines, str(error), shown.happened, shown.meaning]:
            assert "\x1b" not in text


def test_the_guides_name_is_the_root() -> None:
    """``except DatabaseError`` of the guide catches everything this package raises."""
    assert DatabaseError is BackupError


def test_the_drawn_tree_is_the_real_one() -> None:
    """The tree at the top of the module names every class under its parent, with its code."""
    drawn: dict[str, tuple[str | None, int]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    (?P<lines>[│├└─ ]*)(?P<name>\w+Error) +(?P<code>\d+) ", line)
        if found:
            level = len(found["lines"]) // 4
            above[level:] = [found["name"]]
            drawn[found["name"]] = (above[level - 1] if level else None, int(found["code"]))
    real = {
        cls.__name__: (cls.__base__.__name__ if cls is not BackupError else None, cls.exit_code)
        for cls in CLASSES
        if cls.__base__ is not None and cls.__module__ == errors.__name__
    }
    assert drawn == real


# What errors say, each in every way that there is of it

SCHEMA = json.loads(
    (Path(__file__).parents[1] / "docs" / "cli.schema.json").read_text(encoding="utf-8")
)
# What belongs to the outcome, and must not be said of the data anywhere else.
CLAIMS = re.compile(
    r"nothing (was|has|is) (changed|written|done|read|removed|restored|deleted|imported)"
    r"|neither was|left (as it is|alone)|was not (changed|deleted|touched|written)"
    r"|no (backup|migration) was|was (deleted|restored|put back)"
    r"|half.migrated|not sure",
    re.IGNORECASE,
)
INFO = BackupInfo(
    id="0123456789ab",
    path="/data/backups/one.db",
    created_at=datetime(2026, 1, 15, tzinfo=UTC),
    size_bytes=1,
    pin_note="a note",
    database="app.db",
)
MAY_BE_EMPTY = {"reason", "left_out"}
SAMPLES: dict[Any, tuple[Any, ...]] = {
    str: ("some text",),
    bytes: (b"some bytes",),
    int: (0, 12_345),
    float: (1.5,),
    bool: (False, True),
    object: ("/data/app.db",),
    Path: (Path("/data/app.db"),),
    os.PathLike[str]: (Path("/data/app.db"),),
    Exception: (ValueError("what the application says"),),
    OSError: tuple(OSError(code, "what the system says") for code in (5, 13, 20, 28)),
    BackupInfo: (INFO,),
    UpgradeReport: (
        UpgradeReport(
            revision="head",
            heads_before=("a1",),
            alembic_heads=(),
            steps=("b2",),
            seconds=0.5,
            problem="Step b2 fails: ValueError: no such mood.",
        ),
    ),
    Mapping[str, BackupError]: (
        {
            "postgres": errors.DatabaseUnreachableError(
                "The server refused the login.", hint="Do it."
            )
        },
        {"postgres": errors.MissingRightError("A right is missing.", hint="Do it.")},
    ),
    Session: (Session(4711, "app", ""), Session(4712, "App", "psql")),
    URL: (make_url("postgresql+psycopg://app@db.example.org/"),),
    Outcome: tuple(Outcome),
    Command: (Command(Action.UNDO, "Then undo the restore"),),
    BackupError: (
        BackupError("The cause.", hint="Do it."),
        BackupError("The cause.", hint="Do it.", outcome=Outcome.HALF_RUN, backup=Path("b.db")),
        StorageError("The cause.", hint="Do it.", outcome=Outcome.UNSURE, state="Odd."),
    ),
    RestoreError: (RestoreError("The cause.", hint="Do it."),),
    StorageError: (StorageError("The cause.", hint="Do it.", outcome=Outcome.UNSURE),),
    DatabaseDamagedError: (DatabaseDamagedError("The cause."),),
    InvalidBackupError: (InvalidBackupError("The cause.", hint="Do it."),),
    IdentityError: (IdentityError("The cause.", hint="Do it."),),
    Form: FORMS,
    StreamError: tuple(
        kind("it is not complete")
        for kind in (StreamError, TruncatedStreamError, TooLongError, NewerStreamError)
    ),
    Header: (Header(b"", (), "", b""), Header(b"", (Stanza("scrypt", (), ""),), "", b"")),
    Identities: (
        Identities(Secret.from_file("key.txt")),
        Identities(passphrase=Secret.from_environment("A_PASSPHRASE")),
    ),
    MirrorUrl: tuple(map(MirrorUrl.of, ("s3://bucket/prefix", "gs://bucket", "az://box/a"))),
    BaseException: (ValueError("what a library says"), TimeoutError("it took too long")),
    re.Match[str]: tuple(filter(None, [re.match("(.*)|(.*)", "eu-west-1")])),
    Said: tuple(Said("PermissionDeniedError", 403, code, "it refused") for code in ("", "Denied")),
    types.NoneType: (None,),
}


def _is_error(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, BackupError)


def _factories() -> Iterator[Callable[..., BackupError]]:
    for module in MODULES:
        for function in vars(module).values():
            if not inspect.isfunction(function) or function.__module__ != module.__name__:
                continue
            if "Error" not in str(function.__annotations__.get("return", "")):
                continue
            if _is_error(typing.get_type_hints(function, vars(module)).get("return")):
                yield function


def _samples(hint: Any) -> tuple[Any, ...]:
    """Return arguments for a parameter that is annotated with ``hint``."""
    if isinstance(hint, types.UnionType):
        return tuple(itertools.chain.from_iterable(map(_samples, hint.__args__)))
    if hint == Sequence[BackupError]:  # one at least: what made it fail
        return (_samples(BackupError),)
    if hint == Sequence[BackupInfo]:
        return ((), (INFO,), (INFO, INFO))
    if typing.get_origin(hint) in (Collection, Sequence):
        if hint.__args__ != (str,):
            return (_samples(hint.__args__[0]), ())
        return (("one", "two"), tuple(map(str, range(20))))
    return SAMPLES[hint]


def _made_by(factory: Callable[..., BackupError]) -> Iterator[BackupError]:
    """Yield the errors that ``factory`` makes of every combination of sample arguments."""
    hints = typing.get_type_hints(factory)
    parameters = list(inspect.signature(factory).parameters.values())
    samples = [
        (*_samples(hints[p.name]), *([""] if p.name in MAY_BE_EMPTY else [])) for p in parameters
    ]
    for values in itertools.product(*samples):
        given = list(zip(parameters, values, strict=True))
        positional = [v for p, v in given if p.kind is not p.KEYWORD_ONLY]
        yield factory(*positional, **{p.name: v for p, v in given if p.kind is p.KEYWORD_ONLY})


FACTORIES = list(_factories())


def _named(factory: Callable[..., BackupError]) -> str:
    return f"{factory.__module__.removeprefix('soulsense_db.')}.{factory.__name__}"


def _on_stderr(error: BackupError) -> list[str]:
    printed = io.StringIO()
    with redirect_stderr(printed):
        output.print_error(error)
    return printed.getvalue().splitlines()


def _as_json(error: BackupError) -> dict[str, Any]:
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert output.print_json_error(error) == error.exit_code
    answer = json.loads(printed.getvalue())
    jsonschema.Draft202012Validator(SCHEMA).validate(answer)
    found: dict[str, Any] = answer["error"]
    return found


def _strings(found: object) -> Iterator[str]:
    """Yield all texts of a JSON object."""
    if isinstance(found, Mapping):
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            yield from _strings(one)
    elif isinstance(found, str):
        yield found


def _require_agreement(error: BackupError) -> None:
    """Assert that all faces say the same of the data, and say it once."""
    for text in (
        str(error),
        error.message,
        " ".join(_on_stderr(error)),
        _as_json(error)["message"],
        " ".join((explain(error).happened, explain(error).meaning)),
    ):
        said = [outcome for outcome in Outcome for _ in range(text.count(outcome.sentence))]
        # A class or an operation may have a sentence of its own in its place.
        assert said in ([error.outcome], []), f"{error.outcome}: {text}"
        assert said or error.meaning in text or error.state in text, text
    assert _as_json(error)["outcome"] == error.outcome
    shown = explain(error)
    assert shown.happened == error.what
    assert shown.meaning
    # What is said beside the outcome says nothing of the data.
    assert not CLAIMS.search(error.what), error.what


def _require_remedy(error: BackupError) -> None:
    """Assert that every face has the whole remedy; the window, what can be done there."""
    lines = _on_stderr(error)
    assert error.hint
    places = error.candidates if isinstance(error, DatabaseNotNamedError) else ()
    assert lines[1:] == [
        *(f"  {place}" for place in places),
        *(f"Hint: {line}" for line in error.remedy.lines),
    ]
    commands = [command["command"] for command in _as_json(error)["commands"]]
    assert commands == [command.line for command in error.remedy.commands]
    assert all(line in error.hint for line in commands)
    shown = explain(error).hint.split("\n")
    assert len(shown) == bool(error.remedy.sentence) + len(error.remedy.commands)
    for command, line in zip(reversed(error.remedy.commands), reversed(shown), strict=False):
        has_button = command.action in {Action.UNDO, Action.RESTORE, Action.LIST}
        assert (command.line in line) is not has_button


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_agrees_with_itself_in_every_outcome(
    cls: type[BackupError], outcome: Outcome
) -> None:
    """What became of the data is said once, and nowhere its opposite."""
    remedy = Remedy("Mend it.", tuple(Command(action, "Or so") for action in Action))
    for backup in (None, Path("/data/app.db.safety_backup")):
        error = cls("It broke.", outcome=outcome, remedy=remedy, backup=backup)
        _require_agreement(error)
        _require_remedy(error)
        assert (str(backup) in error.message) is (backup is not None and not outcome.is_certain)
        assert cls(error.what, **error.facts).message == error.message


@pytest.mark.parametrize("factory", FACTORIES, ids=_named)
def test_every_error_that_is_made_agrees_with_itself(factory: Callable[..., BackupError]) -> None:
    """Each factory of the package: one outcome, no other claim, and something to do."""
    for error in _made_by(factory):
        _require_agreement(error)
        _require_remedy(error)


def test_factories_are_found() -> None:
    """Those of every wing are among them."""
    wings = {_named(factory).split(".")[0] for factory in FACTORIES}
    expected = {"alembic", "backup_info", "directory", "drivers", "fs", "operations", "sidecars"}
    assert expected <= wings
    assert len(FACTORIES) > 80


def test_no_text_of_an_error_says_what_its_outcome_says() -> None:
    """Where an error is made in the code, its text says what happened, and no more."""
    names = {cls.__name__ for cls in CLASSES}
    found = 0
    for module in MODULES:
        for node in ast.walk(ast.parse(inspect.getsource(module) or "")):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            if getattr(node.func, "id", getattr(node.func, "attr", "")) not in names:
                continue
            texts = (n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant))
            text = "".join(text for text in texts if isinstance(text, str))
            assert not CLAIMS.search(text), f"{module.__name__}: {text}"
            found += 1
    assert found > 100
