"""The reference of the Python API: its examples run, and it names only errors that there are."""

from __future__ import annotations

import builtins
import dataclasses
import doctest
import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import griffe
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from dialog.display import Display, missing
from doc_blocks import DOCS, ROOT

import soulsense_db
from soulsense_db import BackupManager, db_backup, errors
from soulsense_db.alembic import errors as alembic_errors
from soulsense_db.alembic import rehearse
from soulsense_db.mirrors import mirror_for

# The sections in their order, as the site's generator calls them.
KINDS = {
    "Args": "parameters",
    "Attributes": "attributes",
    "Returns": "returns",
    "Yields": "yields",
    "Raises": "raises",
    "Example": "examples",
}
PAGE = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
WINDOW = "soulsense_db.dialog."
DRIVE = "/mnt/usb/soulsense"
ENVIRONMENT = """
import sqlalchemy as sa
from alembic import context

with sa.create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
STEP = """
from alembic import op

revision = "27c6a30d7c24"
down_revision = "1975ea83b712"


def upgrade():
    op.execute("ALTER TABLE entries ADD COLUMN mood INTEGER")
"""


def _named(name: str) -> Any:
    """Return the object whose full name is ``name``."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for part in parts[size:]:
            found = getattr(found, part)
        return found
    raise LookupError(name)


def _blocks() -> Iterator[tuple[str, Any, list[str]]]:
    """Yield what the page names, by its full name, with the members that it limits itself to."""
    for name, options in re.findall(r"^::: (\S+)\n((?:    .*\n)*)", f"{PAGE}\n", re.MULTILINE):
        members = re.search(r"members: \[(.*)\]", options)
        yield name, _named(name), members[1].split(", ") if members else []


def _documented() -> Iterator[tuple[str, Any]]:
    """Yield all that the page shows and that has a docstring of its own."""
    for name, shown, members in _blocks():
        if inspect.ismodule(shown):
            for key in members or [key for key in vars(shown) if _is_made_in(shown, key)]:
                yield from _with_members(f"{name}.{key}", getattr(shown, key), [])
        elif inspect.isclass(shown) or inspect.isroutine(shown):  # of a type's name it keeps none
            yield from _with_members(name, shown, members)


def _is_made_in(module: ModuleType, key: str) -> bool:
    value = getattr(module, key)
    is_class = inspect.isclass(value) and value.__name__ == key  # not by another name
    return is_class and value.__module__ == module.__name__


def _with_members(name: str, shown: Any, members: list[str]) -> Iterator[tuple[str, Any]]:
    yield name, shown
    for key, member in vars(shown).items() if inspect.isclass(shown) else ():
        inner = member.__func__ if isinstance(member, classmethod) else member
        is_shown = key in members if members else not key.startswith("_")
        if is_shown and (inspect.isroutine(inner) or isinstance(inner, property)):
            yield f"{name}.{key}", inner


DOCUMENTED = dict(_documented())
WITH_EXAMPLE = [name for name, shown in DOCUMENTED.items() if ">>> " in (shown.__doc__ or "")]


def _section(name: str, heading: str) -> str:
    """Return a section of the docstring of ``name``, without its heading; may be empty."""
    text = inspect.cleandoc(DOCUMENTED[name].__doc__ or "")
    found = re.search(rf"^{heading}:\n((?:(?:    .*)?\n?)*)", text, re.MULTILINE)
    return inspect.cleandoc("\n" + found[1]) if found else ""


def _entries(name: str, heading: str) -> list[str]:
    return re.findall(r"^(\w[\w.]*): \S", _section(name, heading), re.MULTILINE)


def _is_called(shown: object) -> bool:
    """Whether people call it, and not only read or catch it."""
    if inspect.isclass(shown):
        return not issubclass(shown, enum.Enum | Exception)
    return inspect.isroutine(shown)


# The examples


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return the names of the examples, in a folder with what the page says is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOULSENSE_DATABASE_URL", "sqlite:///app.db")
    engine = sa.create_engine("sqlite:///app.db")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE entries (id INTEGER PRIMARY KEY, body TEXT)"))
        connection.execute(sa.text("INSERT INTO entries (body) VALUES ('one'), ('two')"))
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('1975ea83b712')"))
    manager = BackupManager(engine)
    manager.create("Before the import")
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO entries (body) VALUES ('three')"))
    public = {name: getattr(soulsense_db, name) for name in soulsense_db.__all__}
    yield public | {"engine": engine, "manager": manager, "sa": sa}
    db_backup.configure(None)
    engine.dispose()


@pytest.fixture
def mirrored(world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the names of the examples about mirrors: the manager has an empty one."""
    place = str(tmp_path_factory.mktemp("drive") / "soulsense")
    with mirror_for(f"file://{place}") as mirror:
        mirror.prepare()
    manager = BackupManager(world["engine"], mirrors=f"file://{place}")
    return world | {"manager": manager, DRIVE: place}


@pytest.fixture
def context(world: dict[str, Any]) -> Iterator[None]:
    """Make ``alembic.context`` what it is in env.py, with one step to run."""
    Path("migrations", "versions").mkdir(parents=True)
    Path("migrations", "versions", "old.py").write_text(
        'revision = "1975ea83b712"\ndown_revision = None\n'
    )
    Path("migrations", "versions", "new.py").write_text(STEP)
    config = Config()
    config.set_main_option("script_location", "migrations")
    scripts = ScriptDirectory.from_config(config)
    with ExitStack() as stack:
        context = EnvironmentContext(
            config, scripts, fn=lambda revision, _: scripts._upgrade_revs("head", revision)
        )
        stack.enter_context(context)
        connection = stack.enter_context(world["engine"].connect())
        context.configure(connection=connection)
        yield


@pytest.fixture
def rehearsed(world: dict[str, Any]) -> dict[str, Any]:
    """Return the names of the examples about rehearsals, with the migrations of an application."""
    folder = Path("migrations", "versions")
    folder.mkdir(parents=True)
    (folder / "old.py").write_text('revision = "1975ea83b712"\ndown_revision = None\n')
    (folder / "new.py").write_text(STEP)
    Path("alembic.ini").write_text(
        "[alembic]\nscript_location = migrations\nsqlalchemy.url = sqlite:///app.db\n"
    )
    Path("migrations", "env.py").write_text(ENVIRONMENT)
    report = rehearse(Config("alembic.ini"), manager=world["manager"])
    return world | {"report": report}


def _run(name: str, names: dict[str, Any]) -> str:
    """Run the example of ``name``; return what is wrong with it."""
    text = inspect.cleandoc(DOCUMENTED[name].__doc__ or "")
    text = text.replace(DRIVE, names.get(DRIVE, DRIVE))
    module = importlib.import_module(_module_of(name))
    test = doctest.DocTestParser().get_doctest(text, vars(module) | names, name, name, 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    return "".join(said)


def _module_of(name: str) -> str:
    shown = _named(name.rpartition(".")[0])
    return shown.__name__ if inspect.ismodule(shown) else shown.__module__


@pytest.mark.parametrize("name", [name for name in WITH_EXAMPLE if not name.startswith(WINDOW)])
def test_an_example_shows_what_happens(
    name: str, world: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """Each line of an example runs, and prints what the page shows."""
    if "mirror" in name.lower():
        world = request.getfixturevalue("mirrored")
    if re.search(r"\.(alembic\.(?!safe_|errors)|upgrading)\b", name):
        world = request.getfixturevalue("rehearsed")
    elif "alembic" in name:
        request.getfixturevalue("context")
    problem = _run(name, world)
    assert not problem, problem


@pytest.mark.slow
def test_the_examples_of_the_window_show_what_happens(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line of an example of the window runs on a screen, and prints what the page shows."""
    if why := missing():
        pytest.skip(why)
    import tkinter as tk

    with ExitStack() as stack:
        display = Display()
        stack.callback(display.close)
        monkeypatch.setenv("DISPLAY", display.name)
        root = tk.Tk()
        stack.callback(root.destroy)
        names = world | {"root": root}
        examples = [name for name in WITH_EXAMPLE if name.startswith(WINDOW)]
        problems = "".join(_run(name, names) for name in examples)
        assert examples
        assert not problems, problems


def test_an_example_that_shows_something_else_is_noticed(world: dict[str, Any]) -> None:
    """An example that prints something else than it shows, or that fails, is a problem."""
    DOCUMENTED["soulsense_db.made_up"] = lambda: None
    DOCUMENTED["soulsense_db.made_up"].__doc__ = ">>> 1 + 1\n3\n>>> manager.get('none such')\n"
    try:
        problem = _run("soulsense_db.made_up", world)
    finally:
        del DOCUMENTED["soulsense_db.made_up"]
    assert problem.count("Failed example:") == 2


# What the docstrings have


def test_whatever_is_called_has_an_example() -> None:
    """Each function, method and class of the page that people call has an example."""
    wanted = {name for name, shown in DOCUMENTED.items() if _is_called(shown)}
    assert wanted
    assert wanted <= set(WITH_EXAMPLE), sorted(wanted - set(WITH_EXAMPLE))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_errors_of_a_docstring_exist(name: str) -> None:
    """What a section Raises names is an error of the package or of Python, and no prose has any."""
    known = vars(builtins) | vars(errors) | vars(alembic_errors)
    raised = _entries(name, "Raises")
    for error in raised:
        cls = known[error.rpartition(".")[2]]
        assert issubclass(cls, Exception)
        assert "." not in error or _named(error) is cls
    assert len(raised) == len(_items(name, "Raises"))


def _items(name: str, heading: str) -> list[str]:
    return [line for line in _section(name, heading).splitlines() if line[:1].strip()]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_docstring_tells_of_all_arguments_and_facts(name: str) -> None:
    """Each argument of a function, and each field of a dataclass, has its line."""
    shown: Any = DOCUMENTED[name]
    if inspect.isclass(shown) and hasattr(shown, "__dataclass_fields__"):
        told = _entries(name, "Attributes")
        missing_ones = {field.name for field in dataclasses.fields(cast("Any", shown))} - set(told)
        assert not missing_ones
    elif inspect.isroutine(shown):
        parameters = inspect.signature(shown).parameters
        wanted = [key for key in parameters if key not in {"self", "cls"}]
        assert [key.lstrip("*") for key in _items_names(name)] == wanted


def _items_names(name: str) -> list[str]:
    return [line.partition(":")[0] for line in _items(name, "Args")]


@pytest.fixture(scope="module")
def site() -> griffe.Object:
    """Return the package as the site's generator reads it."""
    package = griffe.load(
        "soulsense_db",
        search_paths=[str(ROOT)],
        extensions=griffe.load_extensions(str(DOCS / "rest_roles.py")),
        docstring_parser="google",
        docstring_options={"returns_multiple_items": False, "returns_named_value": False},
    )
    assert isinstance(package, griffe.Object)
    return package


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_site_makes_a_table_of_each_section(name: str, site: griffe.Object) -> None:
    """The generator finds each section, in the usual order, and takes no prose for a type."""
    text = inspect.cleandoc(DOCUMENTED[name].__doc__ or "")
    headings = re.findall(r"^([A-Z]\w+):$", text, re.MULTILINE)
    assert [heading for heading in KINDS if heading in headings] == headings
    docstring = site[name.removeprefix("soulsense_db.")].docstring
    found = {section.kind.value: section for section in docstring.parsed}
    assert [kind for kind in found if kind != "text"] == [KINDS[heading] for heading in headings]
    assert text.count("Raises ") == 0  # as prose
    for returned in found["returns"].value if "returns" in found else ():
        assert isinstance(returned.annotation, griffe.Expr)
    for raised in found["raises"].value if "raises" in found else ():
        assert isinstance(raised.annotation, griffe.Expr) or hasattr(builtins, raised.annotation)
