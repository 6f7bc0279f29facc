"""How one score came about, token by token, and what made scores lower than their author may think.

Both tell about references, so they are for labelled data of one's own, never for hidden answers.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate, chain

from harness.contest import Answer, Metric
from harness.rouge import (
    DEFAULT_VARIANTS,
    Rouge,
    Tokenize,
    common_ngrams,
    common_subsequence,
    rouge,
    rouge_multiple,
)
from harness.scoring import ScoreCard
from harness.tokenizers import SentenceTokenizer, load_tokenizer

# --- one pair -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MarkedToken:
    """One token, and what it has in common with the other side.

    ``bigram``: a pair of neighbours in common begins here. ``lcs``: it belongs to the longest common
    subsequence, or, where ROUGE-L is counted over lines, to that of its line with some other line.
    """

    token: str
    unigram: bool
    bigram: bool
    lcs: bool


@dataclass(frozen=True)
class Arithmetic:
    """One variant: what was counted, and the figures that follow from it."""

    variant: str
    matches: int
    predicted: int
    referenced: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Explanation:
    """One prediction beside one of its references (``number``, from 1)."""

    number: int
    prediction: tuple[MarkedToken, ...]
    reference: tuple[MarkedToken, ...]
    arithmetic: tuple[Arithmetic, ...]

    @property
    def mean(self) -> float:
        """The mean of the three F1."""
        return sum(line.f1 for line in self.arithmetic) / len(self.arithmetic)


def explain(summary: str, references: Sequence[str], preset: str) -> tuple[Explanation, ...]:
    """How ``summary`` scores against each of its references. The figures are those of ``rouge``.

    Raises:
        UsageError: there is no such preset, or a package it needs is missing.
    """
    tokenize = load_tokenizer(preset)
    return tuple(_explain(number, summary, text, tokenize) for number, text in enumerate(references, 1))


def _explain(number: int, summary: str, reference: str, tokenize: Tokenize) -> Explanation:
    predicted, referenced = tokens = tokenize([summary, reference])
    # ROUGE-L may be counted over lines, whose tokens need not be those of the whole text.
    lines = tokenize.sentences([summary, reference]) if isinstance(tokenize, SentenceTokenizer) else None
    in_lines = [list(chain.from_iterable(text)) for text in lines] if lines else tokens
    subsequence = _lcs_over_lines(*lines) if lines else common_subsequence(predicted, referenced)
    matches = (
        common_ngrams(predicted, referenced, 1),
        common_ngrams(predicted, referenced, 2),
        subsequence if in_lines == tokens else [],
    )
    sides = [
        _mark(side, *({pair[place] for pair in pairs} for pairs in matches))
        for place, side in enumerate(tokens)
    ]
    sizes = {
        "rouge1": [len(side) for side in tokens],
        "rouge2": [max(len(side) - 1, 0) for side in tokens],
        "rougeL": [len(side) for side in in_lines],
    }
    scores = rouge([summary], [reference], tokenizer=tokenize)
    return Explanation(
        number,
        sides[0],
        sides[1],
        tuple(_arithmetic(variant, scores, *sizes[variant]) for variant in DEFAULT_VARIANTS),
    )


def _mark(
    tokens: Sequence[str], unigrams: Set[int], bigrams: Set[int], lcs: Set[int]
) -> tuple[MarkedToken, ...]:
    return tuple(
        MarkedToken(token, at in unigrams, at in bigrams, at in lcs) for at, token in enumerate(tokens)
    )


def _lcs_over_lines(
    prediction: Sequence[Sequence[str]], reference: Sequence[Sequence[str]]
) -> list[tuple[int, int]]:
    """The common subsequences of every line with every line, as positions in the whole texts."""
    starts = [list(accumulate(map(len, side), initial=0)) for side in (prediction, reference)]
    return [
        (starts[0][row] + at, starts[1][other] + left)
        for row, line in enumerate(prediction)
        for other, target in enumerate(reference)
        for at, left in common_subsequence(line, target)
    ]


def _arithmetic(variant: str, scores: Rouge, predicted: int, referenced: int) -> Arithmetic:
    precision, recall, f1 = (float(column[0]) for column in scores[variant].columns)
    return Arithmetic(variant, round(precision * predicted), predicted, referenced, precision, recall, f1)


# --- all pairs ----------------------------------------------------------------------------------------


def _fold(text: str) -> str:
    """Full-width letters, digits and signs (U+FF01 to U+FF5E) in their usual width."""
    return text.translate({code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)})


def _without_controls(text: str) -> str:
    return "".join(
        character
        for character in text
        if character in "\n\t\r " or unicodedata.category(character) not in ("Cc", "Cf")
    )


_MENDED: Mapping[str, Callable[[str], str]] = {
    "decomposed letters (NFD)": lambda text: unicodedata.normalize("NFC", text),
    "full-width letters": _fold,
    "control or invisible characters": _without_controls,
}


def pitfalls(
    summaries: Mapping[str, str], answers: Sequence[Answer], metric: Metric, card: ScoreCard
) -> list[str]:
    """What made the scores on ``card`` lower than they look: references without tokens, odd characters.

    Odd characters are told of where they change the mean F1 of their rows: the rows that have them are
    scored once more with both sides mended.
    """
    told = []
    silent = _without_tokens(answers, metric, card)
    if silent:
        total = sum(len(answer.references) for answer in answers)
        told.append(
            f"{silent:,} of {total:,} references have no tokens with the preset {metric.preset!r}: "
            "whatever is predicted for them scores 0. Another preset may suit their language: --preset mecab"
        )
    for name, mend in _MENDED.items():
        rows = [
            answer for answer in answers
            if any(mend(text) != text for text in (summaries[answer.id], *answer.references))
        ]  # fmt: skip
        as_given, mended = _mean(summaries, rows, metric, str), _mean(summaries, rows, metric, mend)
        if as_given != mended:
            told.append(
                f"{len(rows):,} row{'s have' if len(rows) > 1 else ' has'} {name}: their mean F1 is "
                f"{as_given:.4f}, and would be {mended:.4f} without."
            )
    return told


def _without_tokens(answers: Sequence[Answer], metric: Metric, card: ScoreCard) -> int:
    """How many references have no tokens. Only rows that score nothing, or have several, can have such."""
    suspects: list[str] = []
    for split in card.splits:
        rows = [answer for answer in answers if answer.split == split]
        for answer, f1 in zip(rows, card.get("rouge1", split).per_row, strict=True):
            if f1 == 0 or len(answer.references) > 1:
                suspects += answer.references
    return sum(not tokens for tokens in load_tokenizer(metric.preset)(suspects))


def _mean(
    summaries: Mapping[str, str], rows: Sequence[Answer], metric: Metric, mend: Callable[[str], str]
) -> float:
    """The mean F1 of all variants over ``rows``, their texts mended first; 0 where there are no rows."""
    if not rows:
        return 0.0
    scores = rouge_multiple(
        [mend(summaries[answer.id]) for answer in rows],
        [[mend(reference) for reference in answer.references] for answer in rows],
        tokenizer=metric.preset,
        combine=metric.multiple_references,
    )
    return sum(scores[variant].mean().f1 for variant in DEFAULT_VARIANTS) / len(DEFAULT_VARIANTS)
