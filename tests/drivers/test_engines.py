"""The engine of what applications hand round: sessions, and what makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from soulsense_db import BackupManager
from soulsense_db.drivers import engine_of

SOURCES: dict[str, Callable[[Any], Any]] = {
    "Session": Session,
    "sessionmaker": sessionmaker,
    "scoped_session": lambda engine: scoped_session(sessionmaker(engine)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_manager_takes_what_is_bound_to_an_engine(
    engine: Engine, database: Path, kind: str
) -> None:
    """A session, or what makes sessions, leads to its engine: itself, with its pool and events."""
    source = SOURCES[kind](engine)
    assert engine_of(source) is engine
    manager = BackupManager(source)
    assert manager.database == database
    assert manager.create().kind == "manual"


def test_a_manager_takes_what_is_bound_to_an_async_engine(database: Path) -> None:
    """The same of asyncio."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
    maker = async_sessionmaker(engine)
    scoped = async_scoped_session(maker, scopefunc=lambda: 1)
    for source in (maker, AsyncSession(engine), scoped):
        assert engine_of(source) is engine
        assert BackupManager(source).database == database
    asyncio.run(engine.dispose())


def test_a_session_of_a_connection_leads_to_its_engine(engine: Engine) -> None:
    """Tests of applications bind a session to a connection."""
    with engine.connect() as connection:
        assert engine_of(Session(connection)) is engine


def test_a_session_without_an_engine_is_refused() -> None:
    """Which engine is meant cannot be guessed, and the error says what to pass."""
    with pytest.raises(TypeError, match="sessionmaker is bound to no engine: pass the engine"):
        BackupManager(sessionmaker())


def test_what_is_no_engine_says_which_attribute_to_pass(engine: Engine) -> None:
    """An object that has the engine somewhere names the attribute."""
    app = Flask("app")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(app)
    wrong: list[tuple[Any, str]] = [
        (db, r"not SQLAlchemy: pass its \.engine, inside of app\.app_context\(\)"),
        (app, r"not Flask: pass db\.engine"),
        (sa.make_url("sqlite://"), r"not URL: pass create_engine\(\.\.\.\)"),
        ("sqlite://", r"not str: pass create_engine\(\.\.\.\)"),
    ]
    with engine.connect() as connection:
        wrong.append((connection, r"not Connection: pass its \.engine"))
        for source, words in wrong:
            with pytest.raises(TypeError, match=words):
                BackupManager(source)
    with app.app_context():
        assert BackupManager(db.engine).database is None
