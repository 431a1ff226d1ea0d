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
    slash = sa.func.instr(entries.c.mood, "/")
    op.execute(
        sa.update(entries).values(
            energy=sa.cast(sa.func.substr(entries.c.mood, slash + 1), sa.Integer),
            mood=sa.func.substr(entries.c.mood, 1, slash - 1),
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
