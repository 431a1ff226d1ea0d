"""An index for the page that shows a user's entries by date.

Revises: 0003_mood_and_energy
"""

from __future__ import annotations

from alembic import op

revision = "0004_entries_by_date"
down_revision = "0003_mood_and_energy"
branch_labels = None
depends_on = None

INDEX = "ix_journal_entries_user_id_written_at"


def upgrade() -> None:
    """Make the index."""
    op.create_index(INDEX, "journal_entries", ["user_id", "written_at"])


def downgrade() -> None:
    """Drop it again."""
    op.drop_index(INDEX, table_name="journal_entries")
