"""A server that speaks another language than English."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from helpers import eventually
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from postgresql.owned import Owned
from postgresql.server import Server, versions
from soulsense_db import BackupManager
from soulsense_db.drivers.postgresql import inventory
from soulsense_db.errors import DatabaseLockedError, MissingRightError

pytestmark = pytest.mark.slow
LANGUAGE = "de_DE.UTF-8"


def missing(what: str) -> NoReturn:
    """Skip the test, or fail where nothing may be missing."""
    assert not os.environ.get("SOULSENSE_TESTS_NEED_ALL"), what
    pytest.skip(what)


@pytest.fixture
def locales() -> Iterator[Path]:
    """Return a folder with one, that the server's user may read."""
    localedef = shutil.which("localedef")
    if localedef is None or not Path("/usr/share/i18n/locales/de_DE").exists():
        missing("no other language can be made here")
    with tempfile.TemporaryDirectory(prefix="locales-") as name:
        folder = Path(name)
        subprocess.run(
            [localedef, "-i", "de_DE", "-f", "UTF-8", str(folder / LANGUAGE)],
            check=False,  # it warns
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def shop(locales: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Owned]:
    """Return a database of a server of its own that speaks German."""
    monkeypatch.setenv("LOCPATH", str(locales))
    for version in versions():
        server = Server(version)
        try:
            monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
            with Owned(server) as made:
                made.maintain(f"ALTER SYSTEM SET lc_messages = '{LANGUAGE}'")
                made.maintain("SELECT pg_reload_conf()")
                if eventually(lambda: speaks(made, "Syntaxfehler"), seconds=3):
                    made.execute("CREATE TABLE note (id int)", "CREATE SCHEMA other")
                    yield made
                    return
        finally:
            server.remove()
    missing("no server here has messages in another language")


def speaks(shop: Owned, word: str) -> bool:
    """Whether the server says that of what is no statement."""
    try:
        shop.execute("SELEC")
    except DBAPIError as error:
        return word in str(error)
    return False


def test_a_lock_and_a_right_are_recognized(
    shop: Owned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By ``pg_dump``, which is begun again, as by a restore, which names who is in the way."""
    manager = BackupManager(shop.engine, tmp_path / "backups", lock_timeout=2)
    engine = sa.create_engine(shop.url, poolclass=NullPool)
    begun: list[Future[None]] = []
    look = inventory.has_money
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with engine.connect() as other, ThreadPoolExecutor(1) as executor:

        def change() -> None:
            other.exec_driver_sql("ALTER TABLE note ADD body text")
            other.commit()

        def look_and_change(connection: Any) -> bool:
            if not begun:
                begun.append(executor.submit(change))
                assert eventually(lambda: bool(shop.scalar(waiting)))
            return look(connection)

        monkeypatch.setattr(inventory, "has_money", look_and_change)
        manager.create()
        begun[0].result()
        process = other.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        other.exec_driver_sql("GRANT USAGE ON SCHEMA other TO PUBLIC")
        with pytest.raises(DatabaseLockedError, match=f"process {process} of"):
            manager.restore("latest")
        other.rollback()
    manager.restore("latest")
    shop.administer("CREATE TABLE secret (id int)", "ALTER TABLE secret OWNER TO postgres")
    with pytest.raises(MissingRightError):
        manager.create()
