"""Which training examples a prompt shows: none, always the same, drawn by seed, or the nearest by BM25."""

from __future__ import annotations

import random
from collections.abc import Sequence

from harness.contest import Example
from harness.errors import UsageError
from harness.tokenizers import clean

WAYS = ("none", "fixed", "random", "nearest")


def choose_examples(
    way: str, count: int, ids: Sequence[str], train: Sequence[Example], test: Sequence[Example], seed: int
) -> list[list[Example]]:
    """For each document of ``test`` the examples to show, in the order in which to show them.

    ``fixed`` takes those named by ``ids``, else the first ``count``. ``random`` draws for each document
    anew. ``nearest`` puts the nearest last, next to the question.

    Raises:
        UsageError: an id is not in ``train``, or there are too few examples with a summary.
    """
    labelled = [example for example in train if example.summary and example.summary.strip()]
    if way == "none" or not test:
        return [[] for _ in test]
    if way == "fixed" and ids:
        return [_named(ids, labelled)] * len(test)
    if len(labelled) < count:
        raise UsageError(f"{count} examples are asked for, and train.csv holds {len(labelled)} with a summary.")
    if way == "fixed":
        return [labelled[:count]] * len(test)
    if way == "random":
        # By the document's id, so that neither its place nor its neighbours change the prompt.
        draws = [random.Random(f"{seed} {example.id}") for example in test]  # noqa: S311
        return [draw.sample(labelled, count) for draw in draws]
    return _nearest(count, labelled, test)


def _named(ids: Sequence[str], labelled: Sequence[Example]) -> list[Example]:
    known = {example.id: example for example in labelled}
    unknown = [id for id in ids if id not in known]
    if unknown:
        raise UsageError(f"train.csv holds no row with a summary called {', '.join(unknown)}.")
    return [known[id] for id in ids]


def _nearest(count: int, labelled: Sequence[Example], test: Sequence[Example]) -> list[list[Example]]:
    try:
        import bm25s
    except ModuleNotFoundError:
        raise UsageError(
            "Choosing the nearest examples needs the package bm25s, which is not installed.",
            hint="python -m pip install -c constraints.txt -e '.[prompt]', or choose --examples random.",
        ) from None
    index = bm25s.BM25(method="lucene")
    index.index([bigrams(example.text) for example in labelled], show_progress=False)
    places, _ = index.retrieve(
        [bigrams(example.text) for example in test], k=count, show_progress=False, n_threads=0
    )
    return [[labelled[int(place)] for place in reversed(row)] for row in places]


def bigrams(text: str) -> list[str]:
    """Pairs of neighbouring characters within the words of ``text``, as Lucene's CJK analyser takes them.

    They need no dictionary, find a stem under any particle, and 40,000 documents take seconds.

    >>> bigrams("음악회가 열린다!")
    ['음악', '악회', '회가', '열린', '린다']
    """
    words = clean(text).split()
    return [word[at : at + 2] for word in words for at in range(max(1, len(word) - 1))]
