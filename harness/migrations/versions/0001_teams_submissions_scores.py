"""Teams, submissions, scores, and comparisons between submissions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "board_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the four tables and their indices."""
    op.create_table(
        "team",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("contest", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_key", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.UniqueConstraint("contest", "kind", "name_key"),
    )
    op.create_table(
        "submission",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("contest", sa.Text, nullable=False),
        sa.Column("team_id", sa.Integer, sa.ForeignKey("team.id"), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text),
        sa.Column("file_name", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("problems", sa.Text, nullable=False),
        sa.Column("notices", sa.Text, nullable=False),
        sa.Column("hyperparameters", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.UniqueConstraint("team_id", "state", "sha256"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_submission_day", "submission", ["team_id", "state", "day"])
    op.create_index("ix_submission_history", "submission", ["team_id", "state", "id"])
    op.create_index("ix_submission_contest", "submission", ["contest", "id"])
    op.create_table(
        "score",
        sa.Column("submission_id", sa.Integer, sa.ForeignKey("submission.id"), primary_key=True),
        sa.Column("signature", sa.Text, primary_key=True),
        sa.Column("split", sa.Text, primary_key=True),
        sa.Column("metric", sa.Text, primary_key=True),
        sa.Column("contest", sa.Text, nullable=False),
        sa.Column("team_id", sa.Integer, sa.ForeignKey("team.id"), nullable=False),
        sa.Column("precision", sa.Float, nullable=False),
        sa.Column("recall", sa.Float, nullable=False),
        sa.Column("f1", sa.Float, nullable=False),
        sa.Column("low", sa.Float, nullable=False),
        sa.Column("high", sa.Float, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("per_row", sa.LargeBinary, nullable=False),
    )
    op.create_index(
        "ix_score_best",
        "score",
        ["team_id", "signature", "split", "metric", sa.desc("f1"), "submission_id"],
    )
    op.create_index("ix_score_newest", "score", ["contest", "created_at"])
    op.create_table(
        "comparison",
        sa.Column("signature", sa.Text, primary_key=True),
        sa.Column("split", sa.Text, primary_key=True),
        sa.Column("metric", sa.Text, primary_key=True),
        sa.Column("first_id", sa.Integer, sa.ForeignKey("submission.id"), primary_key=True),
        sa.Column("second_id", sa.Integer, sa.ForeignKey("submission.id"), primary_key=True),
        sa.Column("difference", sa.Float, nullable=False),
        sa.Column("low", sa.Float, nullable=False),
        sa.Column("high", sa.Float, nullable=False),
        sa.Column("p_value", sa.Float, nullable=False),
    )
