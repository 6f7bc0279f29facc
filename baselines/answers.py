"""Answers that have been had once: an SQLite file that makes reruns free.

Each answer is committed as it arrives, under the SHA-256 of the whole request (who was asked, every message,
how to write), so that a run that was killed goes on where it was. The file holds answers, model names and
token counts; prompts and keys are not in it. ``cache clear`` empties it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from baselines.chat import Reply
from harness.errors import HarnessError

FILE_NAME = "answers.sqlite3"
_WAIT = 30.0  # seconds for another run that is writing
_AT_ONCE = 500  # keys in one query
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, model TEXT NOT NULL, prompt_tokens INTEGER,
    completion_tokens INTEGER, stopped_early INTEGER NOT NULL, seconds REAL NOT NULL, created TEXT NOT NULL
) WITHOUT ROWID"""
_FIELDS = "text, model, prompt_tokens, completion_tokens, stopped_early, seconds"


class ModelCount(NamedTuple):
    """How much of one model's work is kept."""

    model: str
    answers: int
    prompt_tokens: int
    completion_tokens: int


class Answers:
    """The file of kept answers. May be used from several threads and by several runs at once.

    Raises:
        HarnessError: the file cannot be opened or is no such file. Nothing has been asked by then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Created here, so that answers about documents that are not public are not open to all.
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._connection = sqlite3.connect(
                path, timeout=_WAIT, check_same_thread=False, isolation_level=None
            )
            # A journal that is kept costs half a millisecond a commit, and survives a loss of power.
            self._connection.execute("PRAGMA journal_mode = PERSIST")
            self._connection.execute(_TABLE)
            self._connection.execute(f"SELECT key, {_FIELDS} FROM answers LIMIT 1")  # noqa: S608
        except (OSError, sqlite3.Error) as error:
            raise unusable(path, error) from None

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._connection.close()

    def find(self, keys: Sequence[str]) -> dict[str, Reply]:
        """Those of ``keys`` that are kept."""
        rows: list[tuple[str, str, str, int | None, int | None, int, float]] = []
        try:
            with self._lock:
                for begin in range(0, len(keys), _AT_ONCE):
                    some = keys[begin : begin + _AT_ONCE]
                    marks = ",".join("?" * len(some))
                    rows += self._connection.execute(
                        f"SELECT key, {_FIELDS} FROM answers WHERE key IN ({marks})",  # noqa: S608 - only marks
                        some,
                    )
        except sqlite3.Error as error:
            raise unusable(self.path, error) from None
        return {
            key: Reply(text, model, prompt, completion, bool(stopped), seconds)
            for key, text, model, prompt, completion, stopped, seconds in rows
        }

    def keep(self, key: str, reply: Reply) -> None:
        """Commit one answer; the first one kept under a key stays."""
        row = (
            key, _storable(reply.text), _storable(reply.model), reply.prompt_tokens, reply.completion_tokens,
            int(reply.stopped_early), reply.seconds, datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        try:
            with self._lock:
                self._connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            raise unusable(self.path, error) from None

    def counts(self) -> list[ModelCount]:
        """What is kept, by model."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT model, COUNT(*), TOTAL(prompt_tokens), TOTAL(completion_tokens)"
                " FROM answers GROUP BY model ORDER BY model"
            ).fetchall()
        return [ModelCount(str(model), int(count), int(read), int(wrote)) for model, count, read, wrote in rows]

    def clear(self) -> int:
        """Forget every answer, and give the space back; how many there were."""
        try:
            with self._lock:
                count = int(self._connection.execute("DELETE FROM answers").rowcount)
                self._connection.execute("VACUUM")
        except sqlite3.Error as error:
            raise unusable(self.path, error) from None
        return count


def count_answers(path: Path) -> list[ModelCount]:
    """What ``path`` keeps, by model; nothing where there is no such file, which is not made."""
    if not path.is_file():
        return []
    with Answers(path) as answers:
        return answers.counts()


def _storable(text: str) -> str:
    """``text`` without halves of surrogate pairs, which SQLite cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def unusable(path: Path, error: Exception) -> HarnessError:
    """The message for a file of answers that does not work."""
    return HarnessError(
        f"The file of kept answers {path} cannot be used: {error}.",
        hint="Name another with --answers-file, go without it with --no-cache, or move the file away.",
    )
