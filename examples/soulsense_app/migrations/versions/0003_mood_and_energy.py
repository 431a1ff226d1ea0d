"""The mood of a journal entry, such as "calm/7", becomes a mood and an energy.

Revises: 0002_settings
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_mood_and_energy"
down_revision = "0002_settings"
branch_labels = None
depends_on = None

entries = sa.table("journal_entries", sa.column("mood", sa.String), sa.column("energy", sa.Integer))


def upgrade() -> None:
    """Move the number behind the slash to a column of its own."""
    with op.batch_alter_table("journal_entries") as batch:
        batch.add_column(sa.Column("energy", sa.Integer, nullable=True))
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    slash = (sa.func.strpos if on_postgresql else sa.func.instr)(entries.c.mood, "/")
    op.execute(
        # In this order: MariaDB reads what the assignment before has written.
        sa.update(entries).ordered_values(
            (entries.c.energy, sa.cast(sa.func.substr(entries.c.mood, slash + 1), sa.Integer)),
            (entries.c.mood, sa.func.substr(entries.c.mood, 1, slash - 1)),
        )
    )
    with op.batch_alter_table("journal_entries") as batch:
        batch.alter_column("energy", existing_type=sa.Integer, nullable=False)


def downgrade() -> None:
    """Put the number behind the mood again."""
    joined = entries.c.mood + "/" + sa.cast(entries.c.energy, sa.String)
    op.execute(sa.update(entries).values(mood=joined))
    with op.batch_alter_table("journal_entries") as batch:
        batch.drop_column("energy")
