"""The board's database: its tables, its transactions, and its schema brought up to date.

::

    database = Database.open("leaderboard.db")      made if it is not there, upgraded if it is old
    with database.read() as connection: …           one snapshot
    with database.write() as connection: …          the lock is taken at BEGIN

With a deferred BEGIN two writers can both read "4 of 5 used" and both insert; so a writer takes the lock
before it reads (``BEGIN IMMEDIATE`` on SQLite, an advisory lock on PostgreSQL).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from harness.errors import HarnessError, ServiceUnavailable, UsageError

SCHEMA = "board_0001"
"""The newest revision in ``harness/migrations``. A database at this one is opened without Alembic."""

LOCK_SECONDS = 30
"""How long a writer waits for its turn."""

# --- tables ---------------------------------------------------------------------------------------
# The schema itself is made by the migrations; a test keeps the two alike.

metadata = sa.MetaData()

team_table = sa.Table(
    "team",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("contest", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("name_key", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.UniqueConstraint("contest", "kind", "name_key"),
)

submission_table = sa.Table(
    "submission",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("contest", sa.Text, nullable=False),
    sa.Column("team_id", sa.Integer, sa.ForeignKey("team.id"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text),  # none of a refused file that was not read to its end
    sa.Column("file_name", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),  # UTC
    sa.Column("day", sa.Text, nullable=False),  # in the contest's time zone, for its daily limit
    sa.Column("problems", sa.Text, nullable=False),  # this and the next three are JSON
    sa.Column("notices", sa.Text, nullable=False),
    sa.Column("hyperparameters", sa.Text, nullable=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.UniqueConstraint("team_id", "state", "sha256"),
    sa.Index("ix_submission_day", "team_id", "state", "day"),
    sa.Index("ix_submission_history", "team_id", "state", "id"),
    sa.Index("ix_submission_contest", "contest", "id"),
    sqlite_autoincrement=True,
)

score_table = sa.Table(
    "score",
    metadata,
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
    # float64, little-endian, order of the answers; last, because a column behind it would be read through it
    sa.Column("per_row", sa.LargeBinary, nullable=False),
    sa.Index("ix_score_best", "team_id", "signature", "split", "metric", sa.desc("f1"), "submission_id"),
    sa.Index("ix_score_newest", "contest", "created_at"),
)

comparison_table = sa.Table(
    "comparison",
    metadata,
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


# --- transactions -----------------------------------------------------------------------------------


class Database:
    """An open database. ``name`` is what messages call it, ``folder`` is where its file lies."""

    def __init__(self, engine: sa.Engine, name: str, folder: Path, lock_file: Path | None) -> None:
        self.name = name
        self.folder = folder
        self._engine = engine
        self._lock_file = lock_file

    @classmethod
    def open(cls, location: str | Path) -> Self:
        """Open the database at ``location``, a path or an SQLAlchemy URL; make it if it is not there.

        Raises:
            HarnessError: it cannot be opened, is no board, or was made by a newer matbogi.
            ServiceUnavailable: it is locked, or the server does not answer.
        """
        path = _path_of(location)
        if path is None:
            engine = _server_engine(str(location))
            database = cls(engine, engine.url.render_as_string(), Path(), None)
        else:
            _refuse_impossible(path)
            database = cls(_sqlite_engine(path), str(path), path.parent, Path(f"{path}.lock"))
        try:
            database._bring_up_to_date()
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that reads one snapshot."""
        with _translated(self.name), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that holds the lock from its first moment, so that what it reads stays true."""
        with _translated(self.name), self._file_locked(), self._engine.connect() as connection:
            connection = connection.execution_options(takes_lock=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _file_locked(self) -> Iterator[None]:
        """Let the writers of a file in one by one: SQLite's own waiting lets some of them starve."""
        if self._lock_file is None:
            yield
            return
        from filelock import FileLock

        with FileLock(self._lock_file, timeout=LOCK_SECONDS, poll_interval=0.01):
            yield

    def _bring_up_to_date(self) -> None:
        with self.read() as connection:
            revision = _revision(connection)
        if revision == SCHEMA:
            return
        with self.write() as connection:
            # Another process may have been faster.
            if (revision := _revision(connection)) != SCHEMA:
                _upgrade(connection, revision, self.name)


# --- opening ----------------------------------------------------------------------------------------


def _path_of(location: str | Path) -> Path | None:
    """The file of an SQLite board, or ``None`` for a server's URL."""
    if isinstance(location, Path) or "://" not in location:
        return Path(location)
    if location.startswith("sqlite:///"):
        return Path(location.removeprefix("sqlite:///"))
    return None


def _refuse_impossible(path: Path) -> None:
    """Raise for a place where no board can be, in plainer words than SQLite has for it."""
    if path.is_dir():
        raise HarnessError(f"{path} is a folder, not a board.", hint="Name a file: --board leaderboard.db")
    if not path.parent.is_dir():
        raise HarnessError(f"The folder {path.parent} is missing, so no board can be made in it.")


def _sqlite_engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": LOCK_SECONDS, "isolation_level": None},
        poolclass=sa.pool.NullPool,
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")
            _choose_journal(connection)
        except sqlite3.Error:
            connection.close()  # the pool does not know it yet
            raise

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        takes_lock = connection.get_execution_options().get("takes_lock")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if takes_lock else "BEGIN")

    return engine


def _choose_journal(connection: sqlite3.Connection) -> None:
    """A write-ahead log for a new board where SQLite's is safe, and for none where it is not."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    safe = _has_safe_wal(sqlite3.sqlite_version_info)
    wanted = "wal" if safe and not pages else "delete" if not safe else mode
    if wanted != mode:
        # A board in use or read-only keeps what it has; the next to open it tries again.
        with suppress(sqlite3.OperationalError):
            connection.execute(f"PRAGMA journal_mode = {wanted}")


def _has_safe_wal(version: tuple[int, ...]) -> bool:
    """Whether SQLite has the fix of the WAL-reset bug: 3.44.6, 3.50.7, 3.51.3 and later in their lines."""
    line, patch = version[:2], version[2]
    fixed = {(3, 44): 6, (3, 50): 7, (3, 51): 3}
    return line > (3, 51) or (line in fixed and patch >= fixed[line])


_ADVISORY_LOCK = 0x6D617462  # "matb"


def _server_engine(url: str) -> sa.Engine:
    try:
        engine = sa.create_engine(url)
    except (sa.exc.ArgumentError, ImportError) as error:
        # Not the address itself: it may hold a password.
        reason = "it is not an SQLAlchemy URL" if isinstance(error, sa.exc.ArgumentError) else str(error)
        raise UsageError(
            f"The board's address cannot be used: {reason}.", hint="A path is enough: --board leaderboard.db"
        ) from None
    if engine.dialect.name == "sqlite":
        raise UsageError("Name an SQLite board by its path, such as leaderboard.db.")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("takes_lock") and engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")

    return engine


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turn what a database or a file system says when it cannot work into an error a person can act on."""
    try:
        yield
    except TimeoutError:  # filelock's Timeout is one
        raise ServiceUnavailable(
            f"The board {name} was busy for {LOCK_SECONDS} seconds. Nothing was recorded.", hint=_AGAIN
        ) from None
    except OSError as error:
        raise HarnessError(
            f"The board {name} cannot be written ({error.strerror}). Nothing was recorded."
        ) from None
    except sa.exc.DBAPIError as error:
        known = _explained(str(error.orig), name)
        if known is None:
            raise
        raise known from None


_AGAIN = "Try again in a moment."
_ANOTHER = "Name another: --board FILE"
_EXPLANATIONS: tuple[tuple[str, type[HarnessError], str, str], ...] = (
    ("locked", ServiceUnavailable, "is locked by another program. Nothing was recorded", _AGAIN),
    ("not a database", HarnessError, "is not an SQLite database", _ANOTHER),
    ("malformed", HarnessError, "is damaged", "Restore it from a backup."),
    ("unable to open", HarnessError, "cannot be opened: no permission, or not a file", _ANOTHER),
    ("readonly", HarnessError, "is read-only. Nothing was recorded", _ANOTHER),
    ("is full", HarnessError, "cannot grow, the disk is full. Nothing was recorded", "Make room first."),
    ("disk I/O error", HarnessError, "cannot be read or written, says the disk. Nothing was recorded", ""),
    ("connect", ServiceUnavailable, "does not answer", _AGAIN),
)


def _explained(said: str, name: str) -> HarnessError | None:
    for words, kind, explanation, hint in _EXPLANATIONS:
        if words in said:
            return kind(f"The board {name} {explanation}.", hint=hint)
    return None


def _revision(connection: sa.Connection) -> str | None:
    """The schema's version; ``None`` where there is none."""
    tables = sa.inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        if tables:
            raise UsageError(
                f"The database holds other things ({', '.join(tables[:3])}), not a board.", hint=_ANOTHER
            )
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _upgrade(connection: sa.Connection, revision: str | None, name: str) -> None:
    """Bring the schema to ``SCHEMA`` inside the transaction of ``connection``."""
    # Alembic costs 360 ms; a board that is up to date never comes here.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise HarnessError(
            f"The board {name} was made by a newer matbogi: its schema is {revision!r}, and this program "
            f"knows none after {SCHEMA!r}.",
            hint=f"Update matbogi. {_ANOTHER}",
        )
    config.attributes["connection"] = connection
    command.upgrade(config, SCHEMA)
