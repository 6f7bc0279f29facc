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
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, chain
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.tokenizers import SentenceTokenizer, TextTokenizer, load_tokenizer

Tokens: TypeAlias = Sequence[str] | Sequence[int]
Tokenize: TypeAlias = Callable[[Sequence[str]], list[list[str]]]
Progress: TypeAlias = Callable[[int], object]
"""Called now and then with the number of pairs done."""

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
        return Figures(*(math.fsum(column) / len(column) for column in self.columns))

    @property
    def columns(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Precision, recall and F1."""
        return self.precision, self.recall, self.f1


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
    progress: Progress | None = None,
) -> Rouge:
    """Score predictions against one reference each.

    Args:
        predictions: n lists of tokens (strings, or whole numbers such as a model's token ids); with
            ``tokenizer``, n texts.
        references: as many token lists or texts, in the same order.
        tokenizer: the name of a preset (``harness.tokenizers.TOKENIZERS``), or a function from texts to
            lists of tokens.
        variants: any of ``rouge1`` to ``rouge9``, ``rougeL`` and ``rougeLsum``. The last needs texts: its
            sentences are their lines.
        progress: called now and then with the number of pairs done.

    Returns:
        precision, recall and F1 by variant, each float64 [n].

    Raises:
        UsageError: the lists differ in length, texts came without a tokenizer, or a variant or preset is
            unknown.
    """
    if len(predictions) != len(references):
        raise UsageError(f"There are {len(predictions)} predictions but {len(references)} references.")
    return _Scorer.of(tokenizer, variants).score(predictions, references, progress)


def rouge_multiple(
    predictions: Sequence[str] | Sequence[Tokens],
    references: Sequence[Sequence[str]] | Sequence[Sequence[Tokens]],
    *,
    tokenizer: str | Tokenize | None = None,
    variants: Sequence[str] = DEFAULT_VARIANTS,
    combine: Literal["mean", "max"] = "mean",
    progress: Progress | None = None,
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
        progress: called now and then with the number of pairs (prediction and reference) done.

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
    repeated = [item for item, count in zip(predictions, counts, strict=True) for _ in range(count)]
    flat = list(chain.from_iterable(references))
    pairs = _Scorer.of(tokenizer, variants).score(repeated, flat, progress)
    rows = [slice(end - count, end) for end, count in zip(accumulate(counts), counts, strict=True)]
    choose = _COMBINE[combine]
    return Rouge({variant: choose(pairs[variant], rows) for variant in variants})


# --- Counting, side by side ---------------------------------------------------------------------------

_ROWS_AT_ONCE = 1_024
"""Pairs whose tokens are in memory at a time."""

KERNEL_FROM = 4_000_000
"""Characters from which on it pays to load the compiled kernel, where numba is installed; then it stays."""

_CHARACTERS_PER_TOKEN = 4  # of a Korean word and the space before it, roughly

_Side: TypeAlias = Sequence[Any]  # texts, or lists of tokens
_Counts: TypeAlias = NDArray[np.int64]  # int64 [pairs, 3]: matches, predicted units, reference units


@dataclass(frozen=True, slots=True)
class _Scorer:
    """What was asked for: how texts become tokens, and which variants are counted over sentences."""

    tokenize: Tokenize | None
    variants: tuple[str, ...]
    by_sentence: frozenset[str]

    @classmethod
    def of(cls, tokenizer: str | Tokenize | None, variants: Sequence[str]) -> _Scorer:
        tokenize = load_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer
        for variant in variants:
            _check_variant(variant)
        over_lines = {"rougeLsum", "rougeL"} if isinstance(tokenize, SentenceTokenizer) else {"rougeLsum"}
        by_sentence = over_lines.intersection(variants)
        if tokenize is None and by_sentence:
            raise UsageError("rougeLsum needs texts and a tokenizer: lists of tokens have no sentences.")
        return cls(tokenize, tuple(variants), frozenset(by_sentence))

    def score(self, predictions: _Side, references: _Side, progress: Progress | None) -> Rouge:
        """The figures of every variant; the two sides are paired in order."""
        self._check(predictions)
        self._check(references)
        kernel = _kernel(self._characters(predictions) + self._characters(references))
        parts: dict[str, list[_Counts]] = {variant: [] for variant in self.variants}
        for begin in range(0, len(predictions), _ROWS_AT_ONCE):
            rows = slice(begin, begin + _ROWS_AT_ONCE)
            for variant, counts in self._count(predictions[rows], references[rows], kernel).items():
                parts[variant].append(counts)
            if progress:
                progress(min(rows.stop, len(predictions)))
        return Rouge({variant: _figures(counts) for variant, counts in parts.items()})

    def _check(self, items: _Side) -> None:
        texts = isinstance(items, str) or any(isinstance(item, str) for item in items)
        if self.tokenize is None and texts:
            raise UsageError(
                "Texts cannot be scored without knowing what a token is.",
                hint='Name a tokenizer, as in rouge(..., tokenizer="mecab"), or give lists of tokens.',
            )
        if self.tokenize and (isinstance(items, str) or not all(isinstance(item, str) for item in items)):
            raise UsageError("With a tokenizer, predictions and references are lists of texts.")

    def _characters(self, items: _Side) -> int:
        return sum(map(len, items)) * (1 if self.tokenize else _CHARACTERS_PER_TOKEN)

    def _count(self, predictions: _Side, references: _Side, kernel: Any) -> dict[str, _Counts]:
        found: dict[str, _Counts] = {}
        plain = [variant for variant in self.variants if variant not in self.by_sentence]
        if plain:
            counts = self._count_plain(predictions, references, max(map(_ngram_size, plain)), kernel)
            found.update((variant, _counts_of(variant, counts)) for variant in plain)
        if self.by_sentence:
            pairs = zip(
                _sentences(predictions, self.tokenize), _sentences(references, self.tokenize), strict=True
            )
            union = np.array([_union_lcs_counts(*pair) for pair in pairs], dtype=np.int64)
            found.update((variant, union) for variant in self.by_sentence)
        return found

    def _count_plain(
        self, predictions: _Side, references: _Side, highest_n: int, kernel: Any
    ) -> NDArray[np.int64]:
        """As ``_count_tokens``, by the compiled kernel if there is one."""
        tokenize = self.tokenize
        if kernel and isinstance(tokenize, TextTokenizer) and tokenize.split is str.split:
            sides = ([tokenize.normalise(text) for text in side] for side in (predictions, references))
            counts: NDArray[np.int64] = kernel.count_words(*sides, highest_n)
            return counts
        first, second = (_each_once(side, tokenize) if tokenize else side for side in (predictions, references))
        if kernel:
            try:
                counts = kernel.count_tokens(first, second, highest_n)
                return counts
            except TypeError:  # tokens that are neither strings nor small whole numbers
                pass
        return _count_tokens(first, second, highest_n)


def _sentences(texts: Sequence[str], tokenize: Tokenize | None) -> list[list[list[str]]]:
    if tokenize is None:
        return []  # ruled out when the scorer was made
    if isinstance(tokenize, SentenceTokenizer):
        return tokenize.sentences(texts)
    # As rouge-score: lines are sentences, and empty lines are none.
    return [tokenize([line for line in text.split("\n") if line]) for text in texts]


def _each_once(texts: Sequence[str], tokenize: Tokenize) -> list[list[str]]:
    """The tokens of every text; equal texts (a prediction with several references) are analysed once."""
    unique = list(dict.fromkeys(texts))
    tokens = dict(zip(unique, tokenize(unique), strict=True))
    return [tokens[text] for text in texts]


def _kernel(characters: int) -> Any:
    """The module ``rouge_kernel`` where it is loaded already or pays; ``None`` otherwise."""
    loaded = sys.modules.get("harness.rouge_kernel")
    return loaded or (_load_kernel() if characters >= KERNEL_FROM else None)


@cache
def _load_kernel() -> Any:
    try:
        from harness import rouge_kernel
    except (ImportError, RuntimeError):  # no numba, or none that fits this numpy, or no place for its cache
        return None
    return rouge_kernel


_NGRAM_VARIANT = re.compile("rouge([1-9])")


def _check_variant(variant: str) -> None:
    if variant not in ("rougeL", "rougeLsum") and not _NGRAM_VARIANT.fullmatch(variant):
        raise UsageError(
            f"There is no variant {variant!r}.", hint="The variants are rouge1 to rouge9, rougeL and rougeLsum."
        )


def _ngram_size(variant: str) -> int:
    """The n of ROUGE-N; 0 for ROUGE-L."""
    found = _NGRAM_VARIANT.fullmatch(variant)
    return int(found[1]) if found else 0


def _counts_of(variant: str, counts: NDArray[np.int64]) -> _Counts:
    """One variant's counts from those of ``_count_tokens``."""
    n = _ngram_size(variant)
    matches = counts[:, 1 + n] if n else counts[:, -1]
    units = np.maximum(counts[:, :2] - max(n - 1, 0), 0)  # a text of t tokens has t - n + 1 n-grams
    return np.column_stack([matches, units])


# --- Counting, pair by pair ---------------------------------------------------------------------------
#
# Every predicted token is turned into a mask: bit i is set where it equals token i of the reference. That is
# all that counting needs, and Python's integers are as long as the reference.


def _count_tokens(
    predictions: Sequence[Tokens], references: Sequence[Tokens], highest_n: int
) -> NDArray[np.int64]:
    """Matches of every pair.

    Returns:
        int64 [pairs, 2 + highest_n + 1]: predicted tokens, reference tokens, n-grams in common for n = 1 …
        ``highest_n``, and the length of the longest common subsequence.
    """
    pairs = zip(predictions, references, strict=True)
    return np.array([_count_pair(*pair, highest_n) for pair in pairs], dtype=np.int64)


def _count_pair(prediction: Tokens, reference: Tokens, highest_n: int) -> list[int]:
    masks = _masks(prediction, reference)
    width = len(reference)
    common = [_greedy_matches(_ngram_ends(masks, n), width) for n in range(1, highest_n + 1)]
    return [len(prediction), width, *common, _lcs_length(masks, width)]


def _masks(prediction: Tokens, reference: Tokens) -> list[int]:
    positions: dict[str | int, int] = {}
    bit = 1
    for token in reference:
        positions[token] = positions.get(token, 0) | bit
        bit <<= 1
    return [positions.get(token, 0) for token in prediction]


def _ngram_ends(masks: Sequence[int], n: int) -> Sequence[int]:
    """For every n-gram of the prediction, the bits of the reference tokens at which an equal one ends."""
    ends = masks
    for size in range(1, n):
        ends = [mask & before << 1 for mask, before in zip(masks[size:], ends, strict=False)]
    return ends


def _greedy_matches(ends: Sequence[int], width: int) -> int:
    """N-grams in common, each at most as often as it stands on either side (Lin 2004, section 2).

    Equal n-grams have equal masks and others share no bit, so taking the lowest free bit loses nothing.
    """
    free = (1 << width) - 1
    for mask in ends:
        usable = free & mask
        free ^= usable & -usable
    return width - free.bit_count()


def lcs_length(first: Tokens, second: Tokens) -> int:
    """The length of a longest common subsequence (Lin 2004, section 3.1)."""
    return _lcs_length(_masks(first, second), len(second))


def _lcs_length(masks: Sequence[int], width: int) -> int:
    (last,) = deque(_lcs_rows(masks, width), maxlen=1)
    return width - last.bit_count()


def _lcs_rows(masks: Iterable[int], width: int) -> Iterator[int]:
    """For every beginning of the prediction, from the empty one on: its LCS with the reference's beginnings.

    Bit i of a row is 0 where the LCS with ``reference[: i + 1]`` is one longer than with ``reference[:i]``.

    Source: H. Hyyro, Bit-parallel LCS-length computation revisited (AWOCA 2004), its second algorithm.
    """
    row = every = (1 << width) - 1
    yield row
    for mask in masks:
        matched = row & mask
        row = (row + matched | row - matched) & every
        yield row


def _union_lcs_counts(prediction: Sequence[Sequence[str]], reference: Sequence[Sequence[str]]) -> list[int]:
    """Summary-level ROUGE-L (Lin 2004, section 3.2) of two texts as sentences.

    Each reference sentence takes the union of its LCS with every predicted sentence. As in ROUGE-1.5.5,
    a token matches no more often than it was predicted, which the paper leaves out.
    """
    hits: Counter[str] = Counter()
    for sentence in reference:
        marked = {index for other in prediction for _, index in common_subsequence(other, sentence)}
        hits.update(sentence[index] for index in marked)
    predicted = Counter(chain.from_iterable(prediction))
    return [(hits & predicted).total(), predicted.total(), sum(map(len, reference))]


def common_ngrams(prediction: Tokens, reference: Tokens, n: int) -> list[tuple[int, int]]:
    """Where the n-grams that ROUGE-N counts begin: in the prediction, and in the reference."""
    ends = _ngram_ends(_masks(prediction, reference), n)
    free, found = (1 << len(reference)) - 1, []
    for begin, mask in enumerate(ends):
        lowest = free & mask & -(free & mask)
        if lowest:
            free ^= lowest
            found.append((begin, lowest.bit_length() - n))
    return found


def common_subsequence(prediction: Tokens, reference: Tokens) -> list[tuple[int, int]]:
    """One longest common subsequence, as positions in prediction and reference, last first.

    Of several it is the one that rouge-score picks, which decides a union. Going back from the ends of both,
    every equal pair is taken; otherwise the reference's token is given up unless only the prediction's can
    go: unless the LCS grows with this token of the reference, which is a 0 in the row.
    """
    rows = list(_lcs_rows(_masks(prediction, reference), len(reference)))
    found: list[tuple[int, int]] = []
    at, left = len(prediction), len(reference)
    while at and left:
        if prediction[at - 1] == reference[left - 1]:
            at, left = at - 1, left - 1
            found.append((at, left))
        elif rows[at] >> (left - 1) & 1:
            left -= 1
        else:
            at -= 1
    return found


# --- Figures: from counts to precision, recall and F1 ------------------------------------------------


def _figures(parts: Sequence[_Counts]) -> PairScores:
    """Precision, recall and F1; numpy rounds each operation as Python does, so the floats are the same."""
    counts = np.concatenate([np.empty((0, 3), np.int64), *parts])
    matches, predicted, referenced = counts.T.astype(np.float64)  # each [pairs]
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
