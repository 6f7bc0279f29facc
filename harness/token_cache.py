"""Tokens that have been made once: a file that may be deleted at any time.

An analyser takes ten times as long as everything else in scoring. So the tokens of references and
summaries are kept, under a hash of the tokenizer's signature and the text: another build of the analyser
finds nothing of what this one left. References are among them, hence the file lies where they do, in the
contest's ``private/``. Where it cannot be read or written (a read-only folder, a locked or damaged file)
the tokens are made anew, and nobody is told.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.tokenizers import Tokenizer

MAX_TEXTS = 50_000
"""Texts that are kept, some 20 MB; the oldest go first."""

_WAIT = 1.0  # seconds for another writer; after that the tokens are not kept
_AT_ONCE = 500  # keys in one query

_TABLE = "CREATE TABLE IF NOT EXISTS tokens (key BLOB PRIMARY KEY, tokens TEXT NOT NULL)"


@dataclass(frozen=True, slots=True)
class CachedTokenizer:
    """A tokenizer that remembers in the SQLite file ``path``. Its tokens and its signature are the same."""

    tokenizer: Tokenizer
    path: Path

    @property
    def signature(self) -> str:
        """That of the tokenizer."""
        return self.tokenizer.signature

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """The tokens of every text."""
        keys = [self._key(text) for text in texts]
        known = self._read(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        made = dict(zip(missing, self.tokenizer(list(missing.values())), strict=True))
        self._write(made)
        known |= made
        return [known[key] for key in keys]

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.signature}\n{text}".encode("utf-8", "surrogatepass")).digest()

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, list[str]]:
        if not self.path.exists():
            return {}
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT)) as connection:
                rows = _rows(connection, keys)
            return {key: _tokens(text) for key, text in rows}
        except (sqlite3.Error, ValueError):
            return {}

    def _write(self, made: dict[bytes, list[str]]) -> None:
        if not made:
            return
        rows = [(key, json.dumps(tokens, ensure_ascii=False)) for key, tokens in made.items()]
        # UnicodeEncodeError: tokens with lone surrogates cannot be stored.
        with (
            suppress(sqlite3.Error, OSError, UnicodeEncodeError),
            closing(sqlite3.connect(self.path, timeout=_WAIT)) as connection,
            connection,
        ):
            connection.execute(_TABLE)
            connection.executemany("INSERT OR IGNORE INTO tokens VALUES (?, ?)", rows)
            connection.execute(
                "DELETE FROM tokens WHERE rowid <= (SELECT max(rowid) FROM tokens) - ?", (MAX_TEXTS,)
            )


def _rows(connection: sqlite3.Connection, keys: Sequence[bytes]) -> list[tuple[bytes, str]]:
    rows: list[tuple[bytes, str]] = []
    for begin in range(0, len(keys), _AT_ONCE):
        some = keys[begin : begin + _AT_ONCE]
        marks = ",".join("?" * len(some))
        rows += connection.execute(f"SELECT key, tokens FROM tokens WHERE key IN ({marks})", some)  # noqa: S608
    return rows


def _tokens(text: str) -> list[str]:
    tokens = json.loads(text)
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError("not a list of tokens")
    return tokens
