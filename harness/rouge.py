"""ROUGE-1, -2, -L and -Lsum: precision, recall and F1 of many pairs at once.

::

    >>> scores = rouge(["경찰이 범인을 잡았다"], ["경찰이 어제 범인을 잡았다"], tokenizer="eojeol")
    >>> scores["rouge1"].precision, scores["rouge1"].recall, scores["rougeL"].f1
    (array([1.]), array([0.75]), array([0.85714286]))

For a prediction of ``p`` and a reference of ``r`` tokens, of which ``m`` match::

    precision = m / p      recall = m / r      F1 = 2 * precision * recall / (precision + recall)

ROUGE-N counts n-grams in place of tokens, each at most as often as it stands on the other side. ROUGE-L
takes the length of the longest common subsequence for ``m``. A side without n-grams scores 0.

Sources: C.-Y. Lin, ROUGE: A Package for Automatic Evaluation of Summaries (2004), sections 2, 3.1 and
3.2. The arithmetic and its order are those of google's rouge-score 0.1.2; given the same tokens every
figure is the same float. Tokens are compared as strings. See docs/scoring.md.
"""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.tokenizers import SentenceTokenizer, load_tokenizer

Tokens: TypeAlias = Sequence[str]
Tokenize: TypeAlias = Callable[[Sequence[str]], list[list[str]]]

DEFAULT_VARIANTS = ("rouge1", "rouge2", "rougeL")


class Figures(NamedTuple):
    """Precision, recall and F1 of a whole corpus: the means over its pairs."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """One variant's figures, pair by pair."""

    precision: NDArray[np.float64]  # float64 [pairs], 0 to 1
    recall: NDArray[np.float64]  # float64 [pairs]
    f1: NDArray[np.float64]  # float64 [pairs]

    def mean(self) -> Figures:
        """The means over all pairs, summed without rounding error (``math.fsum``).

        Raises:
            UsageError: there are no pairs.
        """
        if not len(self.f1):
            raise UsageError("There are no pairs, so there is no mean.")
        return Figures(*(math.fsum(column) / len(column) for column in (self.precision, self.recall, self.f1)))


@dataclass(frozen=True, slots=True, eq=False)
class Rouge:
    """The figures of all variants: ``scores["rouge1"].f1`` is a float64 [pairs]."""

    variants: Mapping[str, PairScores]

    def __getitem__(self, variant: str) -> PairScores:
        """The figures of one variant; ``KeyError`` where it was not asked for."""
        return self.variants[variant]


def rouge(
    predictions: Sequence[str] | Sequence[Tokens],
    references: Sequence[str] | Sequence[Tokens],
    *,
    tokenizer: str | Tokenize | None = None,
    variants: Sequence[str] = DEFAULT_VARIANTS,
) -> Rouge:
    """Score predictions against one reference each.

    Args:
        predictions: n token lists; with ``tokenizer``, n texts.
        references: as many token lists or texts, in the same order.
        tokenizer: the name of a preset (``harness.tokenizers.TOKENIZERS``), or a function from texts to
            lists of tokens.
        variants: any of ``rouge1`` to ``rouge9``, ``rougeL`` and ``rougeLsum``. The last needs texts: its
            sentences are their lines.

    Returns:
        precision, recall and F1 by variant, each float64 [n].

    Raises:
        UsageError: the lists differ in length, texts came without a tokenizer, or a variant or preset is
            unknown.
    """
    if len(predictions) != len(references):
        raise UsageError(f"There are {len(predictions)} predictions but {len(references)} references.")
    scorer = _Scorer.of(tokenizer, variants)
    return scorer.score(scorer.read(predictions), scorer.read(references))


def rouge_multiple(
    predictions: Sequence[str] | Sequence[Tokens],
    references: Sequence[Sequence[str]] | Sequence[Sequence[Tokens]],
    *,
    tokenizer: str | Tokenize | None = None,
    variants: Sequence[str] = DEFAULT_VARIANTS,
    combine: Literal["mean", "max"] = "mean",
) -> Rouge:
    """Score predictions against one or more references each.

    Args:
        predictions: n texts or token lists, as for ``rouge``.
        references: n lists of texts or token lists, none of them empty.
        tokenizer: as for ``rouge``.
        variants: as for ``rouge``.
        combine: ``mean`` takes the mean of precision, of recall and of F1 over the references; ``max``
            takes all three from the reference with the highest F1, the first of equals, variant by
            variant, as rouge-score's ``score_multi`` does.

    Returns:
        precision, recall and F1 by variant, each float64 [n].

    Raises:
        UsageError: as ``rouge``, and where a prediction has no reference.
    """
    if len(predictions) != len(references):
        raise UsageError(f"There are {len(predictions)} predictions but {len(references)} rows of references.")
    counts = [0 if isinstance(row, str) else len(row) for row in references]
    if not all(counts):
        raise UsageError(f"Row {counts.index(0) + 1} has no list of references.")
    if combine not in _COMBINE:
        raise UsageError(f"References are combined by {' or '.join(_COMBINE)}, not by {combine!r}.")
    scorer = _Scorer.of(tokenizer, variants)
    documents = scorer.read(predictions)
    repeated = [document for document, count in zip(documents, counts, strict=True) for _ in range(count)]
    pairs = scorer.score(repeated, scorer.read(list(chain.from_iterable(references))))
    rows = [slice(end - count, end) for end, count in zip(accumulate(counts), counts, strict=True)]
    choose = _COMBINE[combine]
    return Rouge({variant: choose(pairs[variant], rows) for variant in variants})


# --- Reading: from texts or token lists to documents ------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Document:
    """One side of a pair. ``sentences`` is empty where no variant asks for it."""

    tokens: Tokens
    sentences: Sequence[Tokens] = ()


class _Counts(NamedTuple):
    """What one variant counts in one pair."""

    matches: int
    predicted: int
    referenced: int


_Rule: TypeAlias = Callable[[_Document, _Document], _Counts]


@dataclass(frozen=True, slots=True)
class _Scorer:
    """What was asked for: how texts become documents, and how each variant counts."""

    tokenize: Tokenize | None
    rules: Mapping[str, _Rule]

    @classmethod
    def of(cls, tokenizer: str | Tokenize | None, variants: Sequence[str]) -> _Scorer:
        tokenize = load_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer
        by_sentence = isinstance(tokenize, SentenceTokenizer)
        rules = {variant: _rule(variant, by_sentence) for variant in variants}
        if tokenize is None and _union_lcs_counts in rules.values():
            raise UsageError("rougeLsum needs texts and a tokenizer: lists of tokens have no sentences.")
        return cls(tokenize, rules)

    def read(self, items: Sequence[str] | Sequence[Tokens]) -> list[_Document]:
        """One side as documents, in order."""
        given = [] if isinstance(items, str) else [item for item in items if isinstance(item, str)]
        if self.tokenize is None:
            if isinstance(items, str) or given:
                raise UsageError(
                    "Texts cannot be scored without knowing what a token is.",
                    hint='Name a tokenizer, as in rouge(..., tokenizer="mecab"), or give lists of tokens.',
                )
            return [_Document(tokens) for tokens in items]
        if len(given) != len(items):
            raise UsageError("With a tokenizer, predictions and references are lists of texts.")
        tokens = self.tokenize(given)
        if _union_lcs_counts not in self.rules.values():
            return [_Document(item) for item in tokens]
        return [_Document(*both) for both in zip(tokens, _sentences(given, self.tokenize), strict=True)]

    def score(self, predictions: Sequence[_Document], references: Sequence[_Document]) -> Rouge:
        """The figures of every variant; the documents are paired in order."""
        pairs = list(zip(predictions, references, strict=True))
        return Rouge({name: _figures([rule(*pair) for pair in pairs]) for name, rule in self.rules.items()})


def _sentences(texts: Sequence[str], tokenize: Tokenize) -> list[list[list[str]]]:
    if isinstance(tokenize, SentenceTokenizer):
        return tokenize.sentences(texts)
    # As rouge-score: lines are sentences, and empty lines are none.
    return [tokenize([line for line in text.split("\n") if line]) for text in texts]


# --- Counting: from a pair of documents to matches ---------------------------------------------------

_NGRAM_VARIANT = re.compile("rouge([1-9])")


def _rule(variant: str, by_sentence: bool) -> _Rule:
    if variant == "rougeLsum" or (variant == "rougeL" and by_sentence):
        return _union_lcs_counts
    if variant == "rougeL":
        return _lcs_counts
    found = _NGRAM_VARIANT.fullmatch(variant)
    if found is None:
        raise UsageError(
            f"There is no variant {variant!r}.", hint="The variants are rouge1 to rouge9, rougeL and rougeLsum."
        )
    return partial(_ngram_counts, int(found[1]))


def _ngram_counts(n: int, prediction: _Document, reference: _Document) -> _Counts:
    """N-grams in common, each at most as often as it stands on either side (Lin 2004, section 2)."""
    predicted, referenced = _ngrams(prediction.tokens, n), _ngrams(reference.tokens, n)
    return _Counts((predicted & referenced).total(), predicted.total(), referenced.total())


def _ngrams(tokens: Tokens, n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))


def _lcs_counts(prediction: _Document, reference: _Document) -> _Counts:
    """The longest common subsequence of the two token lists (Lin 2004, section 3.1)."""
    return _Counts(
        lcs_length(prediction.tokens, reference.tokens), len(prediction.tokens), len(reference.tokens)
    )


def lcs_length(first: Tokens, second: Tokens) -> int:
    """The length of a longest common subsequence.

    Bit i of ``row`` is 0 where the LCS with ``first[: i + 1]`` is one longer than that with ``first[:i]``.

    Source: H. Hyyro, Bit-parallel LCS-length computation revisited (AWOCA 2004), its second algorithm.
    """
    if len(second) < len(first):
        first, second = second, first  # the rows are as wide as the first
    (last,) = deque(_lcs_rows(first, second), maxlen=1)
    return len(first) - last.bit_count()


def _lcs_rows(first: Tokens, second: Tokens) -> Iterator[int]:
    """``lcs_length``'s ``row`` for every beginning of ``second``, from the empty one to all of it."""
    positions: dict[str, int] = {}
    for index, token in enumerate(first):
        positions[token] = positions.get(token, 0) | 1 << index
    row = every = (1 << len(first)) - 1
    yield row
    for token in second:
        matched = row & positions.get(token, 0)
        row = (row + matched | row - matched) & every
        yield row


def _union_lcs_counts(prediction: _Document, reference: _Document) -> _Counts:
    """Summary-level ROUGE-L (Lin 2004, section 3.2).

    Each reference sentence takes the union of its LCS with every predicted sentence. As in ROUGE-1.5.5,
    a token matches no more often than it was predicted, which the paper leaves out.
    """
    hits: Counter[str] = Counter()
    for sentence in reference.sentences:
        marked = {index for other in prediction.sentences for index in _lcs_positions(sentence, other)}
        hits.update(sentence[index] for index in marked)
    predicted = Counter(token for sentence in prediction.sentences for token in sentence)
    return _Counts(
        (hits & predicted).total(), predicted.total(), sum(len(sentence) for sentence in reference.sentences)
    )


def _lcs_positions(reference: Tokens, prediction: Tokens) -> list[int]:
    """Where in ``reference`` one longest common subsequence lies: the one that rouge-score picks.

    Of several, its choice decides the union. It walks back from the ends of both, takes every equal pair,
    and otherwise gives up the reference's token unless only the prediction's can go: unless the LCS grows
    with this token of the reference, which is a 0 in the row.
    """
    rows = list(_lcs_rows(reference, prediction))
    positions: list[int] = []
    left, j = len(reference), len(prediction)
    while left and j:
        if reference[left - 1] == prediction[j - 1]:
            left, j = left - 1, j - 1
            positions.append(left)
        elif rows[j] >> (left - 1) & 1:
            left -= 1
        else:
            j -= 1
    return positions


# --- Figures: from counts to precision, recall and F1 ------------------------------------------------


def _figures(counts: Sequence[_Counts]) -> PairScores:
    """Precision, recall and F1; numpy rounds each operation as Python does, so the floats are the same."""
    matches, predicted, referenced = np.array(counts, dtype=np.float64).reshape(-1, 3).T  # each [pairs]
    precision = matches / np.maximum(predicted, 1)
    recall = matches / np.maximum(referenced, 1)
    both = precision + recall
    f1 = np.where(both > 0, 2 * precision * recall / np.where(both > 0, both, 1), 0.0)
    return PairScores(precision, recall, f1)


def _mean_rows(pairs: PairScores, rows: Sequence[slice]) -> PairScores:
    """The mean over the references of each row; ``rows`` says which pairs are a row's."""

    def means(column: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([math.fsum(column[row]) / len(column[row]) for row in rows], dtype=np.float64)

    return PairScores(means(pairs.precision), means(pairs.recall), means(pairs.f1))


def _best_rows(pairs: PairScores, rows: Sequence[slice]) -> PairScores:
    """The figures of each row's reference with the highest F1, the first of equals."""
    best = np.array([row.start + np.argmax(pairs.f1[row]) for row in rows], dtype=np.intp)
    return PairScores(pairs.precision[best], pairs.recall[best], pairs.f1[best])


_COMBINE = {"mean": _mean_rows, "max": _best_rows}
