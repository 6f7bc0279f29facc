"""What the embedded model reads before anybody fine-tunes it.

All of it is drawn from seeds: documents of the sample contest's generator, whole or a few sentences of them,
never one that stands in the contest, and never a summary. Behind most of them stand lines made out of the
document's own words: sentences word for word, sentences with words left out, scattered words in order, and
a word followed by the sentence it stands in. Between them stand lists of random words, said twice. These
lines teach a small model to copy, without which it cannot carry a name or a number into a summary. Where
they jump is drawn by lot, so they teach nothing of what matters in a document.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from contests.mini.generator.corpus import Corpus

CONTEST = Path(__file__).parents[2] / "contests" / "mini"

_SENTENCE_END = re.compile(r"\n+|(?<=[.?!]) +")


class Piece(NamedTuple):
    """Text to read; what is learnt of it is ``copied``, and ``source`` too where ``learn_source`` says so."""

    source: str
    copied: str
    learn_source: bool


@dataclass(frozen=True)
class Stage:
    """A stretch of reading.

    ``documents`` how many, drawn from ``seed``; ``sentences`` the most that are kept of each, or 0 for all;
    ``lists`` random lists for each document; ``lines`` the most lines that are copied out of a document;
    ``plain`` the share of documents behind which nothing stands.
    """

    seed: int
    documents: int
    sentences: int
    lists: float
    lines: int
    plain: float


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


def pieces(stage: Stage, texts: Sequence[str]) -> Iterator[Piece]:
    """What ``stage`` reads of ``texts``, in the order it is read."""
    draw = random.Random(stage.seed)  # noqa: S311 - a seeded generator is the point
    letters = syllables()
    words = sorted({word for text in texts for word in text.split()})
    for text in texts:
        yield copied_out(_excerpt(text, stage.sentences, draw), stage, draw)
        for _ in range(int(stage.lists + draw.random())):
            yield repeated_list(draw, letters, words)


def copied_out(text: str, stage: Stage, draw: random.Random) -> Piece:
    """``text`` and then a few lines made of its own words."""
    sentences = _sentences(text)
    if not sentences or draw.random() < stage.plain:
        return Piece(text, "", True)
    between = draw.choice(["\n", "\n", "\n\n", " "])
    lines = [draw.choice(LINES)(sentences, draw) for _ in range(draw.randint(1, stage.lines))]
    return Piece(text, between + between.join(lines), True)


def recalled(sentences: Sequence[str], draw: random.Random) -> str:
    """A sentence, word for word."""
    return draw.choice(sentences)


def thinned(sentences: Sequence[str], draw: random.Random) -> str:
    """One or two sentences in order, with some of their words left out."""
    first = draw.randrange(len(sentences))
    words = " ".join(sentences[first : first + draw.randint(1, 2)]).split()
    kept = [word for word in words if draw.random() < 0.7]
    return " ".join(kept or words)


def scattered(sentences: Sequence[str], draw: random.Random) -> str:
    """Two to six stretches of one to four words, in the order of the document or in none."""
    words = " ".join(sentences).split()
    starts = [draw.randrange(len(words)) for _ in range(draw.randint(2, 6))]
    if draw.random() < 0.5:
        starts.sort()
    stretches = [" ".join(words[start : start + draw.randint(1, 4)]) for start in starts]
    return draw.choice([" ", " ", " ", ", "]).join(stretches)


def looked_up(sentences: Sequence[str], draw: random.Random) -> str:
    """A word, a colon, and the sentence from that word on."""
    words = draw.choice(sentences).split()
    place = draw.randrange(len(words))
    return f"{words[place]}: {' '.join(words[place:])}"


LINES = (recalled, thinned, scattered, scattered, looked_up)
"""The lines that are made of a document, each as likely as it is listed."""


def repeated_list(draw: random.Random, letters: Sequence[str], words: Sequence[str]) -> Piece:
    """Random syllables, numbers and words of the documents, and all of them again."""
    listed = [_list_word(draw, letters, words) for _ in range(draw.randint(3, 16))]
    line = draw.choice([", ", " ", " ", "\n", "·", ": "]).join(listed)
    return Piece(line, draw.choice(["\n\n", "\n", " "]) + line, False)


def _list_word(draw: random.Random, letters: Sequence[str], words: Sequence[str]) -> str:
    kind = draw.random()
    if kind < 0.2:
        return str(draw.randrange(10 ** draw.randint(1, 5)))
    if kind < 0.7:
        return draw.choice(words)
    return "".join(draw.choice(letters) for _ in range(draw.randint(1, 4)))


def _excerpt(text: str, most: int, draw: random.Random) -> str:
    """One to ``most`` neighbouring sentences of ``text``; all of it where ``most`` is 0."""
    sentences = _sentences(text)
    if most == 0 or not sentences:
        return text
    count = min(len(sentences), draw.randint(1, most))
    first = draw.randint(0, len(sentences) - count)
    return "\n".join(sentences[first : first + count])


def _sentences(text: str) -> list[str]:
    return [part for part in _SENTENCE_END.split(text) if len(part) >= 8]
