"""Tell of every row of the catalog which directory and prefix it belongs to.

Revision: 0002, after 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = (sa.Column("directory", sa.Text), sa.Column("prefix", sa.String(60)))


def _present() -> set[str]:
    """Return the columns that are there: a backup may have added ours already."""
    if context.is_offline_mode():
        return set()
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns("backups")}


def upgrade() -> None:
    """Add the columns; the next backup fills them."""
    present = _present()
    for column in COLUMNS:
        if column.name not in present:
            op.add_column("backups", sa.Column(column.name, column.type))


def downgrade() -> None:
    """Drop the columns."""
    with op.batch_alter_table("backups") as batch:
        for column in COLUMNS:
            batch.drop_column(column.name)
