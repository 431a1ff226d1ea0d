"""Alembic environment of this repository: makes the ``backups`` table in ``data/soulsense.db``."""

from __future__ import annotations

from logging.config import fileConfig
from pathlib import Path

from alembic import context
from sqlalchemy import engine_from_config, make_url, pool

from soulsense_db.alembic import safe_migrations
from soulsense_db.catalog import table as catalog

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)

target_metadata = catalog.metadata


def run_migrations_offline() -> None:
    """Print the SQL."""
    context.configure(
        url=config.get_main_option("sqlalchemy.url"),
        target_metadata=target_metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
    with safe_migrations(context):
        context.run_migrations()


def run_migrations_online() -> None:
    """Run the steps, with a safety backup around them."""
    section = config.get_section(config.config_ini_section, {})
    database = make_url(section["sqlalchemy.url"]).database
    if database:  # a fresh checkout has no data directory
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    engine = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=target_metadata, render_as_batch=True
        )
        with safe_migrations(context):
            context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
