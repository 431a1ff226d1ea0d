"""Settings: what each user chose.

Revises: 0001_initial
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_settings"
down_revision = "0001_initial"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "settings",
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("value", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "name", name="pk_settings"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_settings_user_id"),
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("settings")
