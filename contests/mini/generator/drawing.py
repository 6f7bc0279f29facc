"""A seeded source of choices that gives the same choices on every Python."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Choices from one seed.

    Only ``Random.random`` is used underneath: it is the one method whose sequence Python promises to
    keep for a given seed from version to version.
    """

    def __init__(self, seed: int | str) -> None:
        self._random = Random(seed)  # noqa: S311 - text for a sample contest, nothing secret

    def below(self, end: int) -> int:
        """A whole number from 0 to ``end - 1``."""
        return int(self._random.random() * end)

    def between(self, low: int, high: int, step: int = 1) -> int:
        """One of ``low``, ``low + step``, … up to ``high`` at most."""
        return low + step * self.below((high - low) // step + 1)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random.random() < probability

    def choose(self, items: Sequence[T]) -> T:
        """One of ``items``."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """``items`` in a new order (Fisher and Yates)."""
        result = list(items)
        for last in range(len(result) - 1, 0, -1):
            other = self.below(last + 1)
            result[last], result[other] = result[other], result[last]
        return result

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """``count`` different ``items``, or all of them where there are fewer."""
        return self.shuffled(items)[:count]
