"""Every kind of env.py and connection: transactions, async, several databases, threads."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from alembic_project import (
    ALEMBIC_VERSION,
    DOORS,
    FIRST,
    HAS_PLUGINS,
    Project,
    digest,
    needs_plugins,
    query,
)
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

pytestmark = pytest.mark.slow

PLUGIN_DOORS = [door for door in DOORS if door != "both"]
TRANSACTIONS = ["legacy", "begin event", "autocommit"]
if sys.version_info >= (3, 12):
    TRANSACTIONS.append("autocommit=False")


def _engine(project: Project, transactions: str, **options: object) -> Engine:
    """Return an engine in one of the transaction modes that SQLAlchemy documents for SQLite."""
    arguments: dict[str, object] = {}
    if transactions == "autocommit=False":
        arguments["autocommit"] = False
    if transactions == "autocommit":
        options["isolation_level"] = "AUTOCOMMIT"
    engine = sa.create_engine(f"sqlite:///{project.database}", connect_args=arguments, **options)
    if transactions == "begin event":

        @event.listens_for(engine, "connect")
        def no_implicit_begin(connection: object, record: object) -> None:
            connection.isolation_level = None  # type: ignore[attr-defined]

        @event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    return engine


def _pass_connection(project: Project, *, configure: str = "") -> None:
    """Make env.py use ``config.attributes["connection"]``."""
    text = project.env_py.read_text()
    start = text.index("    connectable = engine_from_config(")
    end = text.index("if context.is_offline_mode()")
    manager = (
        "safe_migrations(context)"
        if project.door in ("env.py", "both")
        else ("context.begin_transaction()")
    )
    project.write_env(
        text[:start] + "    context.configure(connection=config.attributes['connection'],\n"
        f"        target_metadata=target_metadata, {configure})\n"
        f"    with {manager}:\n        context.run_migrations()\n\n" + text[end:]
    )


COMBINATIONS = list(
    itertools.product(
        PLUGIN_DOORS[:2], TRANSACTIONS, ("wal", "delete"), (False, True), (False, True)
    )
)


@pytest.mark.parametrize(
    "combination", COMBINATIONS, ids=lambda combination: "-".join(map(str, combination))
)
def test_every_kind_of_transaction_is_put_back(
    tmp_path: Path, combination: tuple[str, str, str, bool, bool]
) -> None:
    """Whatever the transaction and journal modes are, a failure leaves nothing behind."""
    door, transactions, journal, per_migration, transactional = combination
    project = Project(tmp_path, door).standard()
    query(project.database, f"PRAGMA journal_mode = {journal}")
    _pass_connection(
        project,
        configure=f"transaction_per_migration={per_migration}, transactional_ddl={transactional}",
    )
    before = digest(project.database)
    engine = _engine(project, transactions)
    config = project.config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        with pytest.raises(OperationalError, match="nowhere"):
            project.upgrade("head", config)
        assert digest(project.database) == before
        assert connection.exec_driver_sql("SELECT count(*) FROM entry").scalar() == 3
    engine.dispose()
    assert query(project.database, "PRAGMA journal_mode") == [(journal,)]
    project.revision("broken", "second", "pass")
    engine = _engine(project, transactions)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        project.upgrade("head", config)
        connection.commit()
    engine.dispose()
    assert query(project.database, "SELECT version_num FROM alembic_version") == [("broken",)]
    assert not project.marker.exists()


@pytest.mark.parametrize("door", PLUGIN_DOORS)
def test_a_caller_s_own_transaction(tmp_path: Path, door: str) -> None:
    """Rows that the caller has not committed are not in the backup and are rolled back."""
    project = Project(tmp_path, door).standard()
    _pass_connection(project)
    before = digest(project.database)
    engine = _engine(project, "begin event")
    config = project.config()
    with pytest.raises(OperationalError, match="nowhere"), engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO entry (text) VALUES ('uncommitted')")
        config.attributes["connection"] = connection
        project.upgrade("head", config)
    engine.dispose()
    assert digest(project.database) == before
    assert digest(project.backups()[-1]) == before


@pytest.mark.parametrize("door", PLUGIN_DOORS)
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_the_guard_ends_with_the_caller_s_transaction(tmp_path: Path, door: str, end: str) -> None:
    """After a good upgrade within a caller's transaction no marker and no lock stays."""
    project = Project(tmp_path, door).standard()
    _pass_connection(project)
    engine = _engine(project, "begin event")
    config = project.config()
    with engine.connect() as connection:
        connection.begin()
        config.attributes["connection"] = connection
        project.upgrade("second", config)
        getattr(connection, end)()
    engine.dispose()
    assert not project.marker.exists()
    expected = "second" if end == "commit" else "first"
    assert query(project.database, "SELECT version_num FROM alembic_version") == [(expected,)]


@pytest.mark.parametrize("door", PLUGIN_DOORS)
def test_a_static_pool_keeps_its_connection(tmp_path: Path, door: str) -> None:
    """The one connection of a StaticPool is rolled back, not closed: others share it."""
    project = Project(tmp_path, door).standard()
    _pass_connection(project)
    before = digest(project.database)
    engine = _engine(project, "legacy", poolclass=StaticPool)
    config = project.config()
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        config.attributes["connection"] = connection
        with pytest.raises(OperationalError, match="nowhere"):
            project.upgrade("head", config)
        assert connection.connection.dbapi_connection is raw
    engine.dispose()
    assert digest(project.database) == before


TEMPLATES = ["async", *(["pyproject", "pyproject_async"] if ALEMBIC_VERSION >= (1, 16) else [])]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("door", PLUGIN_DOORS)
def test_the_other_templates(tmp_path: Path, door: str, template: str) -> None:
    """The async and pyproject templates of Alembic are protected like the generic one."""
    if "pyproject" in template and door == "alembic.ini":
        # pyproject.toml is where that template keeps the options of [alembic].
        project = Project(tmp_path, "no door", template)
        toml = tmp_path / "pyproject.toml"
        text = toml.read_text()
        toml.write_text(text.replace("[tool.alembic]", "[tool.alembic]\nsoulsense_backup = true"))
    else:
        project = Project(tmp_path, door, template)
    project.standard()
    assert len(project.backups()) == 1
    before = digest(project.database)
    with pytest.raises(OperationalError, match="nowhere"):
        project.upgrade("head")
    assert digest(project.database) == before
    project.revision("broken", "second", "pass")
    project.upgrade("head")
    assert not project.marker.exists()


@needs_plugins
def test_the_first_door_may_stand_around_several_commands(tmp_path: Path) -> None:
    """One Config that serves several commands carries nothing from one to the next."""
    project = Project(tmp_path, "env.py").standard()
    config = project.config()
    for _ in range(2):
        with pytest.raises(OperationalError):
            project.upgrade("head", config)
    project.revision("broken", "second", "pass")
    project.upgrade("head", config)
    assert len(project.backups()) == 3  # the second try has the content of the first


_FAILS_ON_THE_SECOND = """
    op.create_table("mood", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("DELETE FROM entry")
    if kw["engine_name"] == "engine2":
        op.execute("INSERT INTO nowhere VALUES (1)")
"""


@pytest.fixture(params=PLUGIN_DOORS)
def multidb(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """Return a project of Alembic's multidb template with two databases at revision first."""
    project = Project(tmp_path, request.param, "multidb")
    text = project.ini.read_text()
    urls = iter(["engine1", "engine2"])
    lines = [
        f"sqlalchemy.url = sqlite:///{tmp_path / next(urls)}.db"
        if line.startswith("sqlalchemy.url")
        else line
        for line in text.splitlines()
    ]
    project.ini.write_text("\n".join(lines))
    if project.door == "env.py":
        project.edit_env(
            "            context.run_migrations(engine_name=name)\n\n        if USE_TWOPHASE",
            "            with safe_migrations(context):\n"
            "                context.run_migrations(engine_name=name)\n\n        if USE_TWOPHASE",
        )
    project.revision("first", None, FIRST)
    project.upgrade("head")
    yield project


def test_several_databases_go_back_together(multidb: Project) -> None:
    """When the second database fails, the first, not committed yet, is put back with it."""
    multidb.revision("broken", "first", _FAILS_ON_THE_SECOND)
    first, second = multidb.folder / "engine1.db", multidb.folder / "engine2.db"
    before = digest(first), digest(second)
    with pytest.raises(OperationalError, match="nowhere"):
        multidb.upgrade("head")
    assert (digest(first), digest(second)) == before
    assert not list(multidb.folder.glob("*.migrating"))
    assert len(multidb.backups()) == 4
    multidb.revision("broken", "first", "pass")
    multidb.upgrade("head")
    for path in (first, second):
        assert query(path, "SELECT version_num FROM alembic_version") == [("broken",)]
    assert not list(multidb.folder.glob("*.migrating"))


def test_a_committed_database_is_left_alone(multidb: Project) -> None:
    """A database whose work is committed keeps it when a later one fails."""
    multidb.edit_env(
        "context.run_migrations(engine_name=name)\n\n        if USE_TWOPHASE",
        "context.run_migrations(engine_name=name)\n            rec['transaction'].commit()\n\n"
        "        if USE_TWOPHASE",
    )
    multidb.edit_env('rec["transaction"].rollback()', 'rec["connection"].rollback()')
    multidb.revision("broken", "first", _FAILS_ON_THE_SECOND)
    first, second = multidb.folder / "engine1.db", multidb.folder / "engine2.db"
    before = digest(second)
    with pytest.raises(OperationalError, match="nowhere"):
        multidb.upgrade("head")
    assert digest(second) == before
    assert query(first, "SELECT count(*) FROM entry") == [(0,)]
    assert query(first, "SELECT version_num FROM alembic_version") == [("broken",)]
    assert not list(multidb.folder.glob("*.migrating"))


@pytest.mark.parametrize("door", PLUGIN_DOORS)
def test_a_database_met_twice_is_backed_up_once(tmp_path: Path, door: str) -> None:
    """An env.py with two version tables in one database takes one backup, and goes back to it."""
    project = Project(tmp_path, door)
    call = (
        "        with safe_migrations(context):\n"
        if door == "env.py"
        else ("        with context.begin_transaction():\n")
    )
    project.edit_env(
        call + "            context.run_migrations()\n",
        call + "            context.run_migrations()\n"
        "        context.configure(connection=connection, version_table='other_version')\n"
        + call
        + "            context.run_migrations()\n",
    )
    project.revision("first", None, 'op.execute("CREATE TABLE IF NOT EXISTS entry (id INTEGER)")')
    project.upgrade("head")
    assert len(project.backups()) == 1
    assert query(project.database, "SELECT version_num FROM other_version") == [("first",)]
    before = digest(project.database)
    project.revision(
        "second",
        "first",
        """
        op.execute("INSERT INTO entry VALUES (1)")
        if context.get_context().version_table == "other_version":
            op.execute("INSERT INTO nowhere VALUES (1)")
        """,
    )
    with pytest.raises(OperationalError, match="nowhere"):
        project.upgrade("head")
    assert digest(project.database) == before
    assert len(project.backups()) == 2
    assert not project.marker.exists()


@pytest.mark.parametrize("door", PLUGIN_DOORS)
def test_an_error_between_two_runs_of_a_database(tmp_path: Path, door: str) -> None:
    """When the second version table cannot be read, the first run is ended all the same."""
    project = Project(tmp_path, door)
    name = "safe_migrations(context)" if door == "env.py" else "context.begin_transaction()"
    run = f"        with {name}:\n            context.run_migrations()\n"
    project.edit_env(
        run,
        run
        + "        context.configure(connection=connection, version_table='other_version')\n"
        + run,
    )
    project.revision("first", None, FIRST)
    query(project.database, "CREATE TABLE other_version (version_num VARCHAR(32))")
    engine = sa.create_engine(f"sqlite:///{project.database}")
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO other_version VALUES ('nosuch')")
    engine.dispose()
    with pytest.raises(CommandError, match="nosuch"):
        project.upgrade("head")
    assert query(project.database, "SELECT version_num FROM alembic_version") == [("first",)]
    assert not project.marker.exists()


@pytest.mark.parametrize("door", PLUGIN_DOORS)
def test_env_py_may_migrate_in_a_thread(tmp_path: Path, door: str) -> None:
    """An env.py that runs its migrations in a thread of its own is protected as well."""
    project = Project(tmp_path, door).standard()
    project.edit_env(
        "else:\n    run_migrations_online()\n",
        "else:\n"
        "    from concurrent.futures import ThreadPoolExecutor\n"
        "    with ThreadPoolExecutor(1) as pool_of_one:\n"
        "        pool_of_one.submit(run_migrations_online).result()\n",
    )
    before = digest(project.database)
    with pytest.raises(OperationalError, match="nowhere"):
        project.upgrade("head")
    assert digest(project.database) == before
    project.upgrade("second")
    assert not project.marker.exists()


@pytest.mark.skipif(not HAS_PLUGINS, reason="without the plugin nobody sees the end of env.py")
def test_an_error_after_the_migration_leaves_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An error of env.py after the last commit is no failure of the migration."""
    project = Project(tmp_path, "env.py").standard()
    project.write_env(project.env_py.read_text() + "\nraise RuntimeError('afterwards')\n")
    with pytest.raises(RuntimeError, match="afterwards"):
        project.upgrade("second")
    assert query(project.database, "SELECT version_num FROM alembic_version") == [("second",)]
    assert "had finished its migration" in capfd.readouterr().err
    assert not project.marker.exists()


@pytest.mark.parametrize("door", PLUGIN_DOORS)
def test_a_program_s_own_upgrade_is_protected(tmp_path: Path, door: str) -> None:
    """A program that runs env.py itself, not through alembic.command, is protected as well."""
    project = Project(tmp_path, door).standard()
    before = digest(project.database)
    config = project.config()
    script = ScriptDirectory.from_config(config)

    def steps(revision: str, _: object) -> object:
        return script._upgrade_revs("head", revision)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in project.env.items():
            patch.setenv(name, value)
        with (
            pytest.raises(OperationalError, match="nowhere"),
            EnvironmentContext(config, script, fn=steps),
        ):
            script.run_env()
    assert digest(project.database) == before
    assert len(project.backups()) == 2
