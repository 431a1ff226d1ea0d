"""The database of Alembic's configuration: its URL, else what a real env.py configures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic_project import FIRST, Project
from application_folder import modules_forgotten
from helpers import execute, make_database, scalar, snapshot_of, write_marker

from soulsense_db.errors import ApplicationCodeError, BackupError, OptionError, Outcome
from soulsense_db.finding import AlembicConfiguration

URL_LINE = "config = context.config\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOULSENSE_BACKUP", raising=False)
    with modules_forgotten():
        yield tmp_path


def project_of(folder: Path, template: str = "generic", *, door: str = "none") -> Project:
    """Make a project whose ini has the stock URL, and whose env.py sets the real one."""
    project = Project(folder, door=door, template=template)
    ini = project.ini.read_text()
    for line in ini.splitlines():
        if line.startswith("sqlalchemy.url ="):
            url = line.partition("=")[2].strip()
            stock = "sqlalchemy.url = driver://user:pass@localhost/dbname"
            if template != "multidb":
                ini = ini.replace(line, stock)
                project.edit_env(
                    URL_LINE, f'{URL_LINE}config.set_main_option("sqlalchemy.url", "{url}")\n'
                )
    project.ini.write_text(ini)
    make_database(project.database)
    return project


def configuration_of(project: Project) -> AlembicConfiguration:
    """Return the configuration of a project, as the command line makes it."""
    toml = Path("pyproject.toml") if "pyproject" in project.template else None
    return AlembicConfiguration(ini=Path("alembic.ini"), toml=toml)


@pytest.mark.parametrize("template", ["generic", "async", "pyproject", "pyproject_async"])
def test_the_engine_that_env_py_configures_is_taken(folder: Path, template: str) -> None:
    """Each of Alembic's templates, its env.py as it is but for the URL; nothing is changed."""
    try:
        project = project_of(folder, template)
    except Exception as error:  # noqa: BLE001 - an old Alembic
        pytest.skip(str(error))
    before = snapshot_of(folder)[project.database.name]
    found = configuration_of(project)
    assert found.says() == "mig/env.py"
    assert found.engine().url.database == str(project.database)
    assert snapshot_of(folder)[project.database.name] == before
    assert not list(folder.glob("*backup*"))


def test_a_real_url_needs_no_env_py(folder: Path) -> None:
    """What the file says counts, and no code is run."""
    project = Project(folder, door="none")
    project.write_env("1 / 0")
    found = configuration_of(project)
    assert found.engine().url.database == str(project.database)


@pytest.mark.parametrize("door", ["alembic.ini", "env.py", "both"])
def test_no_step_is_run_and_no_safety_backup_is_made(folder: Path, door: str) -> None:
    """Also where steps are pending, migrations are protected, and one has died half-way."""
    project = project_of(folder, door=door)
    project.revision("first", None, FIRST)
    write_marker(project.database, backup="x", alembic_heads=(), target_revision="first")
    assert configuration_of(project).engine().url.database == str(project.database)
    assert project.kinds() == []
    names = "SELECT count(*) FROM sqlite_master WHERE name IN ('entry', 'alembic_version')"
    assert scalar(project.database, names) == 0


@pytest.mark.parametrize("template", ["generic", "async"])
def test_a_database_that_is_missing_is_found_and_not_made(folder: Path, template: str) -> None:
    """env.py is stopped before it connects: to connect would make an empty file."""
    project = project_of(folder, template)
    project.database.unlink()
    assert configuration_of(project).engine().url.database == str(project.database)
    assert not project.database.exists()


def test_several_databases_are_not_chosen_from(folder: Path) -> None:
    """Of Alembic's multidb template none is taken: the error names them, without passwords."""
    project = Project(folder, door="none", template="multidb")
    ini = project.ini.read_text()
    for name in ("engine1", "engine2"):
        make_database(folder / f"{name}.db")
    lines = [f"sqlalchemy.url = sqlite:///{name}.db" for name in ("engine1", "engine2")]
    kept = [line for line in ini.splitlines() if not line.startswith("sqlalchemy.url =")]
    text = "\n".join(kept)
    for name, line in zip(("engine1", "engine2"), lines, strict=True):
        text = text.replace(f"\n[{name}]\n", f"\n[{name}]\n{line}\n")
    project.ini.write_text(text)
    with pytest.raises(ApplicationCodeError, match=r"led to 2 databases: .*/engine1\.db, .*/engi"):
        configuration_of(project).engine()


def _configures(folder: Path, *calls: str) -> AlembicConfiguration:
    """Return the configuration of an env.py that makes these calls of ``context.configure``."""
    for name in ("one", "two"):
        make_database(folder / f"{name}.db")
    project = project_of(folder)
    lines = (
        "import sqlite3",
        "import sqlalchemy as sa",
        "from alembic import context",
        "def made(name):",
        "    return sa.create_engine('sqlite://', creator=lambda: sqlite3.connect(name))",
        *calls,
    )
    (folder / "mig" / "env.py").write_text("\n".join(lines))
    return configuration_of(project)


@pytest.mark.parametrize(
    "second",
    [
        "context.configure(connection=made('two.db').connect())",
        "context.configure(url='sqlite:///two.db')",
    ],
)
def test_two_databases_are_two_whatever_their_urls_are(folder: Path, second: str) -> None:
    """Engines of one URL with another creator each, a connection and a URL: none is chosen."""
    first = "context.configure(connection=made('one.db').connect())"
    with pytest.raises(ApplicationCodeError, match=r"2 databases: .*/one\.db, .*/two\.db"):
        _configures(folder, first, second).engine()


def test_one_database_that_is_configured_twice_is_one(folder: Path) -> None:
    """By an engine and by its URL: the engine counts, which has the application's events."""
    first = "context.configure(url='sqlite:///one.db')"
    second = "context.configure(connection=made('one.db').connect())"
    engine = _configures(folder, first, second).engine()
    assert str(engine.url) == "sqlite://"


BAD = {
    "exits": ("import sys; sys.exit('no DATABASE_URL')", "it calls sys.exit('no DATABASE_URL')"),
    "asks": ("input('Which? ')", "it asks for input"),
    "raises": ("raise KeyError('DATABASE_URL')", "KeyError: 'DATABASE_URL', mig/env.py line 1"),
    "syntax": ("1 = 2", "SyntaxError"),
    "configures nothing": ("pass", "does not call context.configure()"),
    "makes tables": (
        "import sqlalchemy as sa\n"
        "with sa.create_engine('sqlite:///app.db').begin() as c:\n"
        "    c.execute(sa.text('CREATE TABLE t (x)'))\n",
        "would change the database (CREATE TABLE t",
    ),
    "migrates": (
        "import os\n"
        "from alembic import command\n"
        "if not os.environ.get('INNER'):\n"
        "    os.environ['INNER'] = '1'\n"
        "    from alembic.config import Config\n"
        "    command.upgrade(Config('alembic.ini'), 'head')\n",
        "would run migrations",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_an_env_py_that_does_something_else_is_an_error_of_the_tree(
    folder: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """It is stopped before it changes anything, and the error says so and what to do."""
    monkeypatch.setenv("INNER", "")
    code, what = BAD[case]
    project = project_of(folder, door="alembic.ini")
    project.revision("first", None, FIRST)
    if case == "migrates":
        code += project.env_py.read_text()
    project.write_env(code)
    before = snapshot_of(folder)[project.database.name]
    with pytest.raises(BackupError) as caught:
        configuration_of(project).engine()
    assert type(caught.value) is ApplicationCodeError
    assert what in caught.value.what
    assert caught.value.outcome is Outcome.UNCHANGED
    assert "--url" in caught.value.hint
    assert snapshot_of(folder)[project.database.name] == before
    assert project.kinds() == []


def test_a_project_without_a_url_of_its_own_is_told_so(folder: Path) -> None:
    """As right after ``alembic init``: env.py is run, and its URL is the one of the template."""
    project = project_of(folder)
    text = project.env_py.read_text().splitlines()
    kept = [line for line in text if "set_main_option" not in line]
    project.write_env("\n".join(kept))
    with pytest.raises(ApplicationCodeError, match="its URL is that of a template"):
        configuration_of(project).engine()


def test_a_url_with_a_gap_is_filled_in_by_env_py(folder: Path) -> None:
    """An option that only env.py sets is part of the URL of some projects."""
    project = project_of(folder)
    ini = project.ini.read_text()
    stock = "driver://user:pass@localhost/dbname"
    project.ini.write_text(ini.replace(stock, "sqlite:///%(DB_FILE)s", 1))
    text = project.env_py.read_text().splitlines()
    line = 'config.set_main_option("DB_FILE", "app.db")'
    kept = [line if "set_main_option" in one else one for one in text]
    project.write_env("\n".join(kept))
    assert configuration_of(project).engine().url.database == "app.db"
    project.ini.write_text(ini.replace(stock, "sqlite:///%DB_FILE", 1))
    with pytest.raises(OptionError, match="a single %"):
        configuration_of(project).url()


def test_a_url_of_no_dialect_stands_for_none(folder: Path) -> None:
    """``scheme://localhost/app`` in the ini is a placeholder: env.py knows the database."""
    project = project_of(folder)
    stock = "driver://user:pass@localhost/dbname"
    project.ini.write_text(project.ini.read_text().replace(stock, "scheme://localhost/app"))
    found = configuration_of(project)
    assert found.url() is None
    assert found.engine().url.database == str(project.database)


def test_an_env_py_in_a_package_is_found(folder: Path) -> None:
    """``script_location = package:folder`` is a folder of a package, here of a src layout."""
    project = project_of(folder)
    package = folder / "src" / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    project.env_py.parent.rename(package / "mig")
    ini = project.ini.read_text()
    (line,) = [line for line in ini.splitlines() if line.startswith("script_location =")]
    project.ini.write_text(ini.replace(line, "script_location = shop:mig"))
    found = configuration_of(project)
    assert found.says() == "src/shop/mig/env.py"
    assert found.engine().url.database == str(project.database)


def test_an_env_py_in_an_installed_package_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``script_location = package:folder:folder`` of a package on the module path, as Alembic."""
    project = project_of(folder)
    installed = folder / "site" / "bookshop"
    (installed / "server").mkdir(parents=True)
    (installed / "__init__.py").write_text("1 / 0  # nobody imports it to find a file")
    project.env_py.parent.rename(installed / "server" / "mig")
    monkeypatch.syspath_prepend(installed.parent)
    ini = project.ini.read_text()
    (line,) = [line for line in ini.splitlines() if line.startswith("script_location =")]
    project.ini.write_text(ini.replace(line, "script_location = bookshop:server:mig"))
    found = configuration_of(project)
    assert found.says() == "site/bookshop/server/mig/env.py"


def test_a_configuration_without_url_and_env_py_leads_to_none(folder: Path) -> None:
    """It is passed over, with the reason."""
    Path("alembic.ini").write_text("[alembic]\nsqlalchemy.url =\n")
    found = AlembicConfiguration(ini=Path("alembic.ini"))
    assert found.why_not() == "it has no sqlalchemy.url and no env.py"


def test_another_user_s_env_py_is_not_run(folder: Path) -> None:
    """What every user may write to is run only where it is named."""
    project = project_of(folder)
    project.env_py.chmod(0o666)
    assert "is writable by every user" in configuration_of(project).why_not()
    assert AlembicConfiguration(ini=Path("alembic.ini"), is_named=True).why_not() == ""


def test_migrations_run_as_before_when_the_search_is_over(folder: Path) -> None:
    """What kept env.py from running steps is gone with it."""
    project = project_of(folder)
    configuration_of(project).engine()
    project.revision("first", None, FIRST)
    project.upgrade("head")
    assert scalar(project.database, "SELECT version_num FROM alembic_version") == "first"
    execute(project.database, "CREATE TABLE free (x)")
