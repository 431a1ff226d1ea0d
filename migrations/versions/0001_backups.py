"""Make the catalog of backups.

Revision: 0001, the first
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the ``backups`` table, unless a backup has made it already."""
    op.create_table(
        "backups",
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("catalog_format", sa.Integer, nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("alembic_heads", sa.Text, nullable=False),
        sa.Column("target_revision", sa.String(255)),
        sa.Column("duration_seconds", sa.Float),
        sa.PrimaryKeyConstraint("filename"),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Drop the table; the meta files still have all it said."""
    op.drop_table("backups")
