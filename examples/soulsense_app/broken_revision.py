"""Settings move into their user's row, and no two users share an e-mail address.

It worked on the developer's laptop. In a real database somebody signed up twice: then the batch
fails while it copies the users, and by then the settings are in no table any more.

Revises: 0004_entries_by_date
"""

from __future__ import annotations

from collections import defaultdict

import sqlalchemy as sa
from alembic import op

revision = "0005_preferences"
down_revision = "0004_entries_by_date"
branch_labels = None
depends_on = None

settings = sa.table("settings", sa.column("user_id"), sa.column("name"), sa.column("value"))
users = sa.table("users", sa.column("id"), sa.column("preferences", sa.JSON))


def upgrade() -> None:
    """Read the settings, drop their table, and write them into the users."""
    connection = op.get_bind()
    preferences: dict[int, dict[str, str]] = defaultdict(dict)
    for user_id, name, value in connection.execute(sa.select(settings)).all():
        preferences[user_id][name] = value
    op.drop_table("settings")
    if connection.dialect.name == "postgresql":  # a busy server: writers shall not wait for it
        with op.get_context().autocommit_block():
            op.create_index("ix_users_name", "users", ["name"], postgresql_concurrently=True)
    with op.batch_alter_table("users") as batch:
        batch.add_column(sa.Column("preferences", sa.JSON, nullable=False, server_default="{}"))
        batch.create_unique_constraint("uq_users_email", ["email"])
    for user_id, chosen in preferences.items():
        connection.execute(sa.update(users).where(users.c.id == user_id).values(preferences=chosen))


def downgrade() -> None:
    """Stay: what the settings table was is not known here."""
    raise NotImplementedError("restore the backup taken before this revision instead")
