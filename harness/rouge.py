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
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    read = _reader(tokenizer, variants)
    return _score(read(predictions), read(references), variants)


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
    counts = [len(row) for row in references]
    if not all(counts):
        raise UsageError(f"Row {counts.index(0) + 1} has no reference.")
    read = _reader(tokenizer, variants)
    repeated = [document for document, count in zip(read(predictions), counts, strict=True) for _ in range(count)]
    flat = read([reference for row in references for reference in row])
    pairs = _score(repeated, flat, variants)
    choose = _mean_rows if combine == "mean" else _best_rows
    return Rouge({variant: choose(pairs[variant], counts) for variant in variants})


# --- Reading: from texts or token lists to documents ------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Document:
    """One side of a pair. ``sentences`` is there only where a variant asks for it."""

    tokens: Tokens
    sentences: Sequence[Tokens] | None = None


def _reader(
    tokenizer: str | Tokenize | None, variants: Sequence[str]
) -> Callable[[Sequence[str] | Sequence[Tokens]], list[_Document]]:
    """A function from one side's texts, or token lists, to documents."""
    for variant in variants:
        if variant not in ("rougeL", "rougeLsum") and not _NGRAM_VARIANT.fullmatch(variant):
            raise UsageError(
                f"There is no variant {variant!r}.", hint="The variants are rouge1 to rouge9, rougeL, rougeLsum."
            )
    if tokenizer is None:
        return _read_tokens
    tokenize = load_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer
    split = isinstance(tokenize, SentenceTokenizer) or "rougeLsum" in variants
    return lambda texts: _read_texts(texts, tokenize, split)


def _read_tokens(items: Sequence[str] | Sequence[Tokens]) -> list[_Document]:
    if isinstance(items, str) or any(isinstance(item, str) for item in items):
        raise UsageError(
            "Texts cannot be scored without knowing what a token is.",
            hint='Name a tokenizer, as in rouge(…, tokenizer="mecab"), or give lists of tokens.',
        )
    return [_Document(tokens) for tokens in items]


def _read_texts(items: Sequence[str] | Sequence[Tokens], tokenize: Tokenize, split: bool) -> list[_Document]:
    texts = [item for item in items if isinstance(item, str)]
    if isinstance(items, str) or len(texts) != len(items):
        raise UsageError("With a tokenizer, predictions and references are lists of texts.")
    tokens = tokenize(texts)
    if not split:
        return [_Document(item) for item in tokens]
    return [_Document(*both) for both in zip(tokens, _sentences(texts, tokenize), strict=True)]


def _sentences(texts: Sequence[str], tokenize: Tokenize) -> list[list[list[str]]]:
    if isinstance(tokenize, SentenceTokenizer):
        return tokenize.sentences(texts)
    # rouge-score: "Assume sentences are separated by newline"; empty lines are no sentences.
    return [tokenize([line for line in text.split("\n") if line]) for text in texts]


# --- Scoring: from documents to figures -------------------------------------------------------------

_NGRAM_VARIANT = re.compile("rouge[1-9]")


class _Counts(NamedTuple):
    """What one variant counts in one pair."""

    matches: int
    predicted: int
    referenced: int


def _score(
    predictions: Sequence[_Document], references: Sequence[_Document], variants: Sequence[str]
) -> Rouge:
    pairs = list(zip(predictions, references, strict=True))
    return Rouge({variant: _figures([_count(variant, *pair) for pair in pairs]) for variant in variants})


def _count(variant: str, prediction: _Document, reference: _Document) -> _Counts:
    if variant.startswith("rougeL"):
        if prediction.sentences is not None and reference.sentences is not None:
            ...
    raise NotImplementedError
