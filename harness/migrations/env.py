"""What Alembic runs for every upgrade. The connection comes from ``Board``, inside its transaction."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite can undo DDL, so an upgrade that is killed half-way leaves the old schema whole.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
