"""A copy of the example in a folder of its own, for the tour and the app to work on."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import server_copy
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from soulsense_db import BackupManager

EXAMPLE = Path(__file__).resolve().parent
CATALOG = "backups"

_GUARDED = "with safe_migrations(context):"
_PLAIN = "with context.begin_transaction():"


class AppCopy:
    """The example in ``folder``: its migrations, its database, an engine connected to it.

    ``engine``: on a database of a server; without one, the database is a file in ``folder``.
    """

    def __init__(self, folder: Path, engine: sa.Engine | None = None) -> None:
        self._migrations = folder / "migrations"
        if not self._migrations.exists():
            shutil.copytree(EXAMPLE / "migrations", self._migrations)
        self.database = folder / "data" / "soulsense.db"
        self.database.parent.mkdir(parents=True, exist_ok=True)
        if engine is None:
            engine = sa.create_engine(sa.URL.create("sqlite", database=str(self.database)))
        self.engine = engine
        self._backups = self.database.parent / "backups"
        self.manager = BackupManager(engine, self._backups)
        self._config = self._make_config()

    def _make_config(self) -> Config:
        # The tour prints what happens itself: what Alembic would print goes nowhere.
        config = Config(
            EXAMPLE / "alembic.ini",
            stdout=io.StringIO(),
            attributes={"configure_logger": False},
        )
        config.set_main_option("script_location", _escaped(str(self._migrations)))
        url = self.engine.url.render_as_string(hide_password=False)
        config.set_main_option("sqlalchemy.url", _escaped(url))
        config.set_main_option("soulsense_backup_directory", _escaped(str(self._backups)))
        return config

    def upgrade(self, revision: str = "head") -> None:
        """Do what ``alembic upgrade`` does."""
        command.upgrade(self._config, revision)

    def check_models(self) -> None:
        """Do what ``alembic check`` does: raise when the models are not what the tables are."""
        command.check(self._config)

    def add_revision(self, source: Path, revision: str) -> None:
        """Put the file ``source`` among the revisions."""
        shutil.copy(source, self._migrations / "versions" / f"{revision}.py")

    def remove_protection(self) -> None:
        """Put back the line of env.py that Alembic generates."""
        env = self._migrations / "env.py"
        text = env.read_text(encoding="utf-8")
        if text.count(_GUARDED) != 1:
            raise ValueError(f"{env} should have one line '{_GUARDED}'")
        env.write_text(text.replace(_GUARDED, _PLAIN), encoding="utf-8")

    def revision(self) -> str:
        """Return the revision that the database says it is at."""
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
            return str(found.scalar_one())

    def counts(self) -> dict[str, int]:
        """Return how many rows each table has, soulsense_db's own table aside."""
        with self.engine.connect() as connection:
            found = sa.select(sa.func.count()).select_from
            return {
                name: connection.execute(found(sa.table(name))).scalar_one()
                for name in sorted(sa.inspect(connection).get_table_names())
                if name != CATALOG
            }

    def columns(self) -> set[str]:
        """Return the columns of the tables in :meth:`counts`, as ``table.column``."""
        inspector = sa.inspect(self.engine)
        return {
            f"{table}.{column['name']}"
            for table in self.counts()
            for column in inspector.get_columns(table)
        }

    def digest(self) -> str:
        """Return a SHA-256 over all columns and rows of the tables in :meth:`counts`."""
        digest = hashlib.sha256()
        for name in self.counts():
            with self.engine.connect() as connection:
                everything = sa.select(sa.text("*")).select_from(sa.table(name))
                result = connection.execute(everything)
                columns = list(result.keys())
                rows = sorted(repr(tuple(row)) for row in result)
            digest.update(repr((name, columns, rows)).encode())
        return digest.hexdigest()

    @contextmanager
    def copied(self, folder: Path) -> Iterator[AppCopy]:
        """Yield a copy of the example in ``folder``, on a database made of a new backup."""
        info = self.manager.create("For a try without protection")
        if self.engine.dialect.name == "sqlite":
            copy = AppCopy(folder)
            self.manager.export(info, copy.database)
            yield copy
            copy.close()
            return
        with server_copy.new_database(self.engine) as engine:
            copy = AppCopy(folder, engine)
            exported = folder / info.filename
            self.manager.export(info, exported)
            copy.manager.restore(copy.manager.import_file(exported))
            yield copy
            copy.close()

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()


def _escaped(value: str) -> str:
    """Double each ``%``, which a configuration file would take for a placeholder."""
    return value.replace("%", "%%")
