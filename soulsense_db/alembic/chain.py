"""The chain of a ``MigrationContext``: its version table, and where its steps lead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from alembic.runtime.migration import HeadMaintainer, MigrationContext

from soulsense_db.alembic.errors import attached as refuse_attached
from soulsense_db.alembic.errors import version_table_attached, version_table_elsewhere
from soulsense_db.operations import LiveDatabase
from soulsense_db.sidecars import Chain


def chain_of(context: MigrationContext) -> Chain:
    """Return what tells the chain of ``context`` from any other of the database."""
    environment = context.environment_context
    config = environment.config if environment is not None else None
    location = config.get_main_option("script_location") if config is not None else None
    return Chain(
        version_table=str(context.version_table),
        schema=str(context.version_table_schema) if context.version_table_schema else None,
        section=str(config.config_ini_section) if config is not None else "",
        script_location=str(location or ""),
    )


def target_heads(
    context: MigrationContext, heads: Iterable[str], steps: Sequence[Any]
) -> tuple[str, ...]:
    """Return the sorted revisions that the version table has when all ``steps`` were run."""
    count = _HeadCount(context, heads)
    for step in steps:
        count.update_to_step(step)
    return tuple(sorted(count.heads))


class _HeadCount(HeadMaintainer):
    """Follows the heads as Alembic does, and writes nothing to the database."""

    def _insert_version(self, version: str) -> None:
        self.heads.add(version)

    def _delete_version(self, version: str) -> None:
        self.heads.discard(version)

    def _update_version(self, from_: str, to_: str) -> None:
        self.heads.discard(from_)
        self.heads.add(to_)


def require_whole(
    context: MigrationContext, attached: dict[str, str], live: LiveDatabase, *, ignore: bool
) -> None:
    """Raise for a migration that would be put back by half: part of it is in an attached file.

    ``ignore``: whether the user says that the steps leave attached files alone. The version table
    must be in the main one in any case.
    """
    schema = context.version_table_schema
    if schema is not None and not live.has_schemas and not _is_own(context, str(schema), live):
        table = f"{schema}.{context.version_table}"
        if live.path is None and live.address:
            raise version_table_elsewhere(table)
        raise version_table_attached(table, attached.get(str(schema), "a database in memory"))
    if attached and not ignore:
        name, file = next(iter(attached.items()))
        raise refuse_attached(name, file)


def _is_own(context: MigrationContext, schema: str, live: LiveDatabase) -> bool:
    """Whether a schema that is a database is the live one."""
    if live.path is None and live.address:
        return bool(context.connection and schema == context.connection.engine.url.database)
    return schema == "main"
