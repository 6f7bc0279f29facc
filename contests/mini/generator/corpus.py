"""Draws whole sets of documents, in which no document and hardly a sentence comes twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

from contests.mini.generator.drawing import Draw
from contests.mini.generator.topic import MAX_SUMMARY, MIN_SUMMARY, Document, Topic, compose

GENRES: Mapping[str, int] = {"news": 30, "dialogues": 20, "minutes": 20, "lectures": 15, "notices": 15}
"""How many documents in a hundred belong to each genre; each is a module with ``TOPICS``."""

TELLING_LENGTH = 20
"""Characters from which on a sentence should stand in one document only; "네, 알겠습니다" may recur."""

_TRIES = 30
_NEVER = 1_000  # more than a document has sentences


def topics(genre: str) -> tuple[Topic, ...]:
    """The topics of one genre."""
    found: tuple[Topic, ...] = import_module(f"contests.mini.generator.{genre}").TOPICS
    return found


class Corpus:
    """Documents from one seed. No text and no summary comes twice, and sentences hardly ever."""

    def __init__(self, seed: int, genres: Mapping[str, int] = GENRES) -> None:
        self._draw = Draw(seed)
        self._genres = [genre for genre, share in genres.items() for _ in range(share)]
        self._topics = {genre: topics(genre) for genre in genres}
        self._written: set[str] = set()

    def documents(self, count: int) -> Iterator[Document]:
        """Draw ``count`` documents.

        Raises:
            RuntimeError: a topic has too few words for that many different documents.
        """
        for _ in range(count):
            yield self._document(self._draw.choose(self._topics[self._draw.choose(self._genres)]))

    def _document(self, topic: Topic) -> Document:
        """One new document: the first in which no telling sentence recurs, or else the one with the fewest."""
        drawn = [compose(topic, self._draw)]
        while self._recurring(drawn[-1]) and len(drawn) < _TRIES:
            drawn.append(compose(topic, self._draw))
        best = min(drawn, key=self._recurring)
        if self._recurring(best) >= _NEVER:
            raise RuntimeError(
                f"the topic '{topic.name}' cannot make another document: give its slots more words"
            )
        self._written.update(_telling(best), (best.text, best.summary))
        return best

    def _recurring(self, document: Document) -> int:
        """How many telling sentences have been written before; ``_NEVER`` for a document that must not be."""
        fits = MIN_SUMMARY <= len(document.summary) <= MAX_SUMMARY
        if not fits or document.text in self._written or document.summary in self._written:
            return _NEVER
        return len(_telling(document) & self._written)


_SENTENCE_END = re.compile(r"\n|(?<=[.?!]) ")


def _telling(document: Document) -> set[str]:
    return {part for part in _SENTENCE_END.split(document.text) if len(part) >= TELLING_LENGTH}


def row_ids(draw: Draw, count: int) -> Sequence[str]:
    """``count`` different ids of ten letters and digits, none of which a spreadsheet takes for a number."""
    characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    ids: dict[str, None] = {}
    while len(ids) < count:
        name = "".join(draw.choose(characters) for _ in range(10))
        if sum(character.isalpha() for character in name) >= 3:
            ids[name] = None
    return list(ids)
