"""Tickets, one a seat, and a show to sell them for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.create_table(
        "tickets",
        sa.Column("show_id", sa.Integer, sa.ForeignKey("shows.id"), primary_key=True),
        sa.Column("seat", sa.Integer, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
    )
    op.execute("INSERT INTO shows (id, title, seats) VALUES (1, 'Hamlet', 2)")


def downgrade():
    op.drop_table("tickets")
