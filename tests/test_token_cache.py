"""Kept tokens are the tokens: under any circumstances the same, and made no more often than needed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import token_cache
from harness.contest import Contest
from harness.scoring import KEPT_TOKENS, score
from harness.token_cache import CachedTokenizer
from harness.tokenizers import Tokenizer


@dataclass
class Counting:
    """Splits at spaces, and counts the texts it was given."""

    signature: str = "words-1"
    seen: list[str] = field(default_factory=list)

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """The words of every text."""
        self.seen += texts
        return [text.split() for text in texts]


TEXTS = ["물가가 올랐다", "비가 온다", "", "물가가 올랐다", "탭\t과 '따옴표' \"둘\""]
TOKENS = [text.split() for text in TEXTS]


def test_a_text_is_analysed_once(tmp_path: Path) -> None:
    """Equal texts, within a call and between two processes' calls, are given to the analyser once."""
    counting: Tokenizer = (inner := Counting())
    for _ in range(3):
        assert CachedTokenizer(counting, tmp_path / "tokens.sqlite3")(TEXTS) == TOKENS
    assert sorted(inner.seen) == sorted(set(TEXTS))


def test_another_signature_finds_nothing(tmp_path: Path) -> None:
    """Tokens of one build of the analyser are never taken for those of another."""
    path = tmp_path / "tokens.sqlite3"
    CachedTokenizer(Counting("words-1"), path)(TEXTS)
    newer = Counting("words-2")
    CachedTokenizer(newer, path)(TEXTS)
    assert set(newer.seen) == set(TEXTS)


@pytest.mark.parametrize("content", [b"", b"not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_damaged_file_is_no_obstacle(content: bytes, tmp_path: Path) -> None:
    """The tokens are made anew."""
    path = tmp_path / "tokens.sqlite3"
    path.write_bytes(content)
    assert CachedTokenizer(Counting(), path)(TEXTS) == TOKENS


def test_a_damaged_entry_is_no_obstacle(tmp_path: Path) -> None:
    """What is not a list of tokens is not taken for one."""
    path = tmp_path / "tokens.sqlite3"
    CachedTokenizer(Counting(), path)(TEXTS)
    for broken in ("[", '"text"', "[1, 2]", "null"):
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE tokens SET tokens = ?", (broken,))
        connection.close()
        assert CachedTokenizer(Counting(), path)(TEXTS) == TOKENS


def test_a_locked_file_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program holds the file, tokens are made and not kept."""
    monkeypatch.setattr(token_cache, "_WAIT", 0.01)
    path = tmp_path / "tokens.sqlite3"
    CachedTokenizer(Counting(), path)(["하나"])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert CachedTokenizer(Counting(), path)(TEXTS) == TOKENS
    other.close()


def test_no_folder_is_no_obstacle(tmp_path: Path) -> None:
    """A place that cannot be written keeps nothing."""
    assert CachedTokenizer(Counting(), tmp_path / "nowhere" / "tokens.sqlite3")(TEXTS) == TOKENS


def test_lone_surrogates_are_not_kept_but_right(tmp_path: Path) -> None:
    """SQLite stores no lone surrogate; such tokens are made each time."""
    strange = ["\ud800 하나", "둘"]
    for _ in range(2):
        cached = CachedTokenizer(Counting(), tmp_path / "tokens.sqlite3")
        assert cached(strange) == [["\ud800", "하나"], ["둘"]]


def test_many_writers_at_once(tmp_path: Path) -> None:
    """Eight threads that fill one file all get their tokens."""
    path = tmp_path / "tokens.sqlite3"

    def work(number: int) -> bool:
        texts = [f"글 {number % 3} {row}" for row in range(300)]
        return CachedTokenizer(Counting(), path)(texts) == [text.split() for text in texts]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(24)))


def test_the_file_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more texts than are to be kept, the newest are."""
    monkeypatch.setattr(token_cache, "MAX_TEXTS", 10)
    path = tmp_path / "tokens.sqlite3"
    CachedTokenizer(Counting(), path)([f"글 {number}" for number in range(25)])
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM tokens").fetchone() == (10,)
    connection.close()
    newest = Counting()
    CachedTokenizer(newest, path)(["글 24", "글 0"])
    assert newest.seen == ["글 0"]


def test_a_contest_keeps_its_tokens_beside_its_answers(ours: Contest, answers: dict[str, str]) -> None:
    """The second score reads them, and is the same to the last bit; the file lies in private/."""
    summaries = {name: text[:12] for name, text in answers.items()}
    first = score(summaries, ours)
    assert (ours.root / "private" / KEPT_TOKENS).exists()
    second = score(summaries, ours)
    assert first.signature == second.signature
    assert [(item.precision, item.f1, item.low) for item in first.scores] == [
        (item.precision, item.f1, item.low) for item in second.scores
    ]
