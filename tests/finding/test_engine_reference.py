"""``--engine module:attribute``: the application's own engine, and what keeps it from being one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from application_folder import modules_forgotten, write
from helpers import make_database, snapshot_of
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from soulsense_db import BackupManager
from soulsense_db.errors import ApplicationCodeError, BackupError, OptionError, Outcome
from soulsense_db.finding import engine_named

DB = """
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.orm import sessionmaker

    URL = "sqlite:///app.db"
    engine = sa.create_engine(URL, pool_size=3)
    async_engine = create_async_engine("sqlite+aiosqlite:///app.db")
    Maker = sessionmaker(engine)


    class Holder:
        bound = engine


    def make(): return engine
    def wants(name): return engine
    async def later(): return engine
    def dependency(): yield Maker()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder with ``app.db`` and, in shop/db.py, its engines."""
    monkeypatch.chdir(tmp_path)
    make_database(tmp_path / "app.db")
    write(tmp_path, shop__db=DB)
    with modules_forgotten():
        yield tmp_path


@pytest.mark.parametrize(
    "reference",
    [
        "shop.db:engine",
        "shop.db:make",
        "shop.db:make()",
        "shop.db:Maker",
        "shop.db:Holder.bound",
        " shop.db:engine\n",
    ],
)
def test_the_engine_itself_is_used(reference: str) -> None:
    """Its pool settings and events count: it is the application's object, not a new one."""
    engine = engine_named(reference)
    assert engine is sys.modules["shop.db"].engine
    assert isinstance(engine, Engine)
    assert engine.pool.size() == 3  # type: ignore[attr-defined]


def test_an_async_engine_is_one(folder: Path) -> None:
    """An AsyncEngine can be backed up as it is."""
    engine = engine_named("shop.db:async_engine")
    assert isinstance(engine, AsyncEngine)
    assert BackupManager(engine).database == folder / "app.db"


def test_a_src_layout_is_found(folder: Path) -> None:
    """A package in ./src need not be installed."""
    write(folder, src__store__db=DB)
    assert engine_named("store.db:engine") is sys.modules["store.db"].engine


def test_nothing_of_the_application_hides_a_module_of_others(folder: Path) -> None:
    """The folder comes first for the application's own import, and last after it."""
    write(folder, shop__sibling="import other", other="")
    engine_named("shop.db:engine")
    assert str(folder) not in sys.path[:1]
    assert sys.path[-1] == str(folder)


BAD = {
    "not a reference": ("shop.db", "does not name an engine", "module, a colon"),
    "no module": ("shop.dbs:engine", "No module named 'shop.dbs'", "current directory"),
    "no attribute": ("shop.db:engin", "has no 'engin'", "It has: shop.db:Maker"),
    "a URL": ("shop.db:URL", "a URL: give it to --url", "Name an Engine"),
    "arguments": ("shop.db:wants", "missing a required argument: 'name'", "Name an Engine"),
    "async function": ("shop.db:later", "an async function", "Name an Engine"),
    "generator": ("shop.db:dependency", "it yields", "Name an Engine"),
    "a class": ("shop.db:Holder", "of type Holder", "Name an Engine"),
    "needs": ("needs:engine", "No module named 'nowhere_to_be_found'", "needs nowhere_to_be"),
    "raises": ("raises:engine", "KeyError: 'DATABASE_URL', raises.py line 2", "fix it"),
    "syntax": ("syntax:engine", "SyntaxError", "fix it"),
    "exits": ("exits:engine", "it calls sys.exit('no settings')", "set what it asks for"),
    "exits when called": ("shop.exiting:make", "Calling shop.exiting:make() failed", "set what"),
    "asks": ("asks:engine", "it asks for input", "Let it ask only when"),
    "connects": ("connects:engine", "gone.db, which is not there", "when it is imported"),
    "writes": ("writes:engine", "would change the database (CREATE TABLE t", "when it is"),
    "swallows": ("swallows:engine", "would change the database", "when it is imported"),
    "Flask": ("flask_one:db", "belongs to a Flask application", "--app"),
    "hidden": ("platform.db:engine", "'platform' is not a package", "Rename"),
}
CODE = {
    "needs": "import nowhere_to_be_found",
    "raises": "\nimport os; os.environ['DATABASE_URL']",
    "syntax": "engine = = 1",
    "exits": "import sys; sys.exit('no settings')",
    "shop__exiting": "import sys\ndef make(): sys.exit(1)",
    "asks": "engine = input('Which database? ')",
    "connects": """
        import sqlalchemy as sa
        engine = sa.create_engine("sqlite:///gone.db")
        engine.connect()
    """,
    "writes": """
        import sqlalchemy as sa
        engine = sa.create_engine("sqlite:///app.db")
        sa.Table("t", sa.MetaData(), sa.Column("x", sa.Integer)).create(engine)
    """,
    "swallows": """
        from shop.db import engine, sa
        try:
            with engine.begin() as connection:
                connection.execute(sa.text("WITH x AS (SELECT 1) DELETE FROM child"))
        except BaseException:
            pass
    """,
    "flask_one": "from flask_sqlalchemy import SQLAlchemy\ndb = SQLAlchemy()",
    "platform__db": DB,
}


@pytest.mark.parametrize("case", BAD)
def test_what_leads_to_no_engine_is_an_error_of_the_tree(folder: Path, case: str) -> None:
    """It says what is wrong and what to do; nothing was made and nothing was changed."""
    reference, what, hint = BAD[case]
    write(folder, **CODE)
    before = {name: data for name, data in snapshot_of(folder).items() if name.endswith(".db")}
    with pytest.raises(BackupError) as caught:
        engine_named(reference)
    kind = OptionError if case == "not a reference" else ApplicationCodeError
    assert type(caught.value) is kind
    assert caught.value.outcome is Outcome.UNCHANGED
    assert what in caught.value.what
    assert hint in caught.value.hint
    after = {name: data for name, data in snapshot_of(folder).items() if name.endswith(".db")}
    assert after == before


def test_what_only_reads_when_imported_is_let_be(folder: Path) -> None:
    """An application that makes the tables that are absent changes nothing where none is."""
    write(
        folder,
        creates="""
            from shop.db import engine, sa
            metadata = sa.MetaData()
            sa.Table("parent", metadata, sa.Column("id", sa.Integer))
            metadata.create_all(engine)
        """,
    )
    assert engine_named("creates:engine") is sys.modules["shop.db"].engine


def test_what_the_application_prints_and_where_it_goes_is_not_ours(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its print does not mix with our output, nor its logging; the current directory stays."""
    write(
        folder,
        loud="""
            import logging, os
            from shop.db import engine
            logging.basicConfig(level=logging.DEBUG, force=True)
            logging.getLogger("shop").error("loading")
            print("hello")
            os.chdir("/")
        """,
    )
    level = logging.root.level
    engine_named("loud:engine")
    assert capfd.readouterr() == ("", "")
    assert os.getcwd() == str(folder)  # noqa: PTH109 - as it is
    assert logging.root.level == level


@pytest.mark.parametrize(
    "code",
    [
        "connection.exec_driver_sql('WITH q AS (SELECT 1) DELETE/**/FROM parent')",
        "connection.exec_driver_sql('PRAGMA user_version = 7')",
        "connection.exec_driver_sql('ANALYZE')",
        "engine.raw_connection().cursor().executescript('DROP TABLE child')",
    ],
)
def test_nothing_is_written_in_whatever_way(folder: Path, code: str) -> None:
    """SQLite itself refuses what a statement hides, and what goes past SQLAlchemy."""
    before = (folder / "app.db").read_bytes()
    write(
        folder,
        w=f"""
        import sqlalchemy as sa

        engine = sa.create_engine("sqlite:///app.db")
        with engine.begin() as connection:
            {code}
        """,
    )
    with pytest.raises(ApplicationCodeError, match=r"readonly|would change"):
        engine_named("w:engine")
    assert (folder / "app.db").read_bytes() == before


def test_the_engine_can_write_afterwards(folder: Path) -> None:
    """Only the connections of that moment can do nothing but read."""
    write(
        folder,
        r="""
        import sqlalchemy as sa

        engine = sa.create_engine("sqlite:///app.db")
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT * FROM parent")
        """,
    )
    engine = engine_named("r:engine")
    assert isinstance(engine, Engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM child")
