"""Draws whole sets of documents, in which no document and hardly a sentence comes twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

from contests.mini.generator.drawing import Draw
from contests.mini.generator.topic import MAX_SUMMARY, MIN_SUMMARY, Document, Topic, compose

GENRES: Mapping[str, int] = {"news": 30, "dialogues": 20, "minutes": 20, "lectures": 15, "notices": 15}
"""How many documents in a hundred belong to each genre; each is a module with ``TOPICS``."""

TELLING_LENGTH = 20
"""Characters from which on a part of a document may stand in one document only ("네, 알겠습니다" may recur)."""

_MAX_TRIES = 2_000


def topics(genre: str) -> tuple[Topic, ...]:
    """The topics of one genre."""
    found: tuple[Topic, ...] = import_module(f"contests.mini.generator.{genre}").TOPICS
    return found


class Corpus:
    """Documents from one seed. What has been written once is not written again."""

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
        for _ in range(_MAX_TRIES):
            document = compose(topic, self._draw)
            telling = {part for part in (*document.parts, document.summary) if len(part) >= TELLING_LENGTH}
            if MIN_SUMMARY <= len(document.summary) <= MAX_SUMMARY and telling.isdisjoint(self._written):
                self._written |= telling
                return document
        raise RuntimeError(f"the topic '{topic.name}' cannot make another document: give its slots more words")


def row_ids(draw: Draw, count: int) -> Sequence[str]:
    """``count`` different ids of ten letters and digits, none of which a spreadsheet takes for a number."""
    characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    ids: dict[str, None] = {}
    while len(ids) < count:
        name = "".join(draw.choose(characters) for _ in range(10))
        if sum(character.isalpha() for character in name) >= 3:
            ids[name] = None
    return list(ids)
