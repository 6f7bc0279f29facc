"""What the embedded model reads before anybody fine-tunes it.

Three kinds of pieces, drawn from one seed: documents of the sample contest's generator (other ones than the
contest's own: its texts are left out, and no summary is ever read); documents followed by some of their own
sentences, word for word; and lists of random words, said twice. The last two teach a small model to copy,
without which it cannot carry a name or a number from a document into a summary.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterator
from pathlib import Path

from contests.mini.generator.corpus import Corpus

SHARE_RECALL = 0.5
SHARE_LISTS = 0.4
CONTEST = Path(__file__).parents[2] / "contests" / "mini"

_SENTENCE_END = re.compile(r"\n+|(?<=[.?!]) +")


def syllables() -> list[str]:
    """The 2,350 Hangul syllables of KS X 1001, which write nearly all Korean text."""
    found = []
    for lead in range(0xB0, 0xC9):
        for trail in range(0xA1, 0xFF):
            found.append(bytes([lead, trail]).decode("euc-kr"))
    return found


def contest_texts() -> set[str]:
    """Every document and summary of the sample contest that its folder holds in the open."""
    texts: set[str] = set()
    for name in ("train.csv", "test.csv"):
        with (CONTEST / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                texts.update(value for key, value in row.items() if key != "id")
    return texts


def documents(seed: int, count: int) -> list[str]:
    """``count`` documents that are not in the sample contest."""
    theirs = contest_texts()
    drawn = Corpus(seed).documents(count + count // 20)
    return [document.text for document in drawn if document.text not in theirs][:count]


def pieces(texts: list[str], seed: int) -> Iterator[str]:
    """What is read, one piece for each text and the lists between them, in the order it is read."""
    draw = random.Random(seed)  # noqa: S311 - a seeded generator is the point
    letters = syllables()
    words = sorted({word for text in texts for word in text.split()})
    order = list(texts)
    draw.shuffle(order)
    for text in order:
        yield recall(text, draw) if draw.random() < SHARE_RECALL else text
        if draw.random() < SHARE_LISTS:
            yield repeated_list(draw, letters, words)


def recall(text: str, draw: random.Random) -> str:
    """``text`` and then a few of its sentences in any order."""
    sentences = [part for part in _SENTENCE_END.split(text) if len(part) >= 8]
    if not sentences:
        return text
    chosen = draw.sample(sentences, min(len(sentences), draw.randint(2, 5)))
    return text + draw.choice(["\n\n", "\n", " "]) + draw.choice(["\n", " "]).join(chosen)


def repeated_list(draw: random.Random, letters: list[str], words: list[str]) -> str:
    """Random syllables, numbers and words of the documents, twice over, with a separator that prose uses."""
    listed = [_list_word(draw, letters, words) for _ in range(draw.randint(5, 30))]
    line = draw.choice([", ", " ", " ", "\n", "·", ": "]).join(listed)
    return line + draw.choice(["\n\n", "\n", " "]) + line


def _list_word(draw: random.Random, letters: list[str], words: list[str]) -> str:
    kind = draw.random()
    if kind < 0.2:
        return str(draw.randrange(10 ** draw.randint(1, 5)))
    if kind < 0.6:
        return draw.choice(words)
    return "".join(draw.choice(letters) for _ in range(draw.randint(1, 4)))
