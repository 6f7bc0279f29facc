"""How many pairs a CPU-second each package scores by ROUGE-1, -2 and -L.

    pip install rouge-score torchmetrics rouge-score-rs rouge-rust    what is missing is left out
    python benchmarks/rouge.py [--rounds 5]

All score the same pairs, one package after another in every round, on one thread; a figure is the median
of the rounds. Pairs are short (about 22 words a side, as a contest's summaries) or long (about 300). Words
are ASCII between single spaces, so that every package finds the same tokens; that all of them find the same
mean F1 is checked before the clock starts, and compiling is over by then. "ids" are the same pairs as
lists of whole numbers, tokenised beforehand. Hugging Face's evaluate calls rouge-score.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # the Rust packages would take every core

import harness.rouge
from harness.rouge import DEFAULT_VARIANTS, rouge

Texts = Sequence[str]
Pairs = tuple[list[str], list[str]]  # predictions and references
Means = tuple[float, ...]

SIZES = {"short": (22, 20_000), "long": (300, 1_500)}  # words a side, pairs


@dataclass(frozen=True)
class Peer:
    """A package: what is timed, and how the mean F1 of each variant is read off its result.

    ``share`` of the pairs is enough where a package is slow.
    """

    name: str
    score: Callable[[Any, Any], Any]
    means: Callable[[Any], Means]
    share: float = 1.0
    encoded: bool = False


def pairs(words: int, count: int, seed: int = 1) -> Pairs:
    """Pairs of texts of about ``words`` words, of which somewhat more than half agree; Zipf's law holds."""
    draw = random.Random(seed)  # noqa: S311 - texts to be scored
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    vocabulary = ["".join(draw.choices(letters, k=draw.choice([2, 3, 4, 5, 6, 7, 9]))) for _ in range(4_000)]
    weights = [1 / (rank + 10) for rank in range(len(vocabulary))]
    predictions, references = [], []
    for _ in range(count):
        reference = draw.choices(vocabulary, weights, k=max(1, round(draw.gauss(words, words / 5))))
        kept = [word for word in reference if draw.random() < 0.6]
        predictions.append(" ".join(kept + draw.choices(vocabulary, weights, k=round(0.4 * words))))
        references.append(" ".join(reference))
    return predictions, references


# --- the packages -------------------------------------------------------------------------------------


def _ours(name: str, tokenizer: Any, kernel: bool, share: float = 1.0) -> Peer:
    module = import_module("harness.rouge_kernel") if kernel else None

    def score(predictions: Any, references: Any) -> harness.rouge.Rouge:
        harness.rouge._kernel = lambda characters: module
        return rouge(predictions, references, tokenizer=tokenizer)

    def means(figures: harness.rouge.Rouge) -> Means:
        return tuple(figures[name].mean().f1 for name in DEFAULT_VARIANTS)

    return Peer(name, score, means, share, encoded=tokenizer is None)


class _Words:
    """rouge-score's interface for tokenizers."""

    def tokenize(self, text: str) -> list[str]:
        """The words between white space."""
        return text.split()


def _means_of_rows(scores: Sequence[Any]) -> Means:
    return tuple(statistics.fmean(row[name].fmeasure for row in scores) for name in DEFAULT_VARIANTS)


def _rouge_score() -> Peer:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(DEFAULT_VARIANTS, tokenizer=_Words())

    def score(predictions: Texts, references: Texts) -> Any:
        return [scorer.score(*pair) for pair in zip(references, predictions, strict=True)]

    return Peer(f"rouge-score {version('rouge-score')}", score, _means_of_rows, share=0.05)


def _torchmetrics() -> Peer:
    import_module("torch").set_num_threads(1)
    rouge_score = import_module("torchmetrics.functional.text.rouge").rouge_score
    settings = {"rouge_keys": DEFAULT_VARIANTS, "tokenizer": str.split, "normalizer": str}

    def score(predictions: Texts, references: Texts) -> Any:
        return rouge_score(list(predictions), list(references), **settings)

    def means(figures: Any) -> Means:
        return tuple(float(figures[f"{name}_fmeasure"]) for name in DEFAULT_VARIANTS)

    return Peer(f"torchmetrics {version('torchmetrics')}", score, means, share=0.02)


def _rouge_score_rs() -> Peer:
    scorer = import_module("rouge_score_rs.rouge_scorer").RougeScorer(list(DEFAULT_VARIANTS))

    def score(predictions: Texts, references: Texts) -> Any:
        return scorer.score_batch(references, predictions)

    return Peer(f"rouge-score-rs {version('rouge-score-rs')}", score, _means_of_rows)


def _rouge_rust() -> Peer:
    fast_rouge = import_module("fast_rouge")

    def score(predictions: Texts, references: Texts) -> Any:
        return fast_rouge.score_batch_flat(references, predictions)

    def means(flat: Any) -> Means:
        return tuple(statistics.fmean(getattr(flat, f"{name}_fmeasure")) for name in DEFAULT_VARIANTS)

    return Peer(f"rouge-rust {version('rouge-rust')}", score, means)


def _compiled() -> Peer:
    return _ours("matbogi, compiled", "eojeol", kernel=True)


def _compiled_ids() -> Peer:
    return _ours("matbogi, compiled, ids", None, kernel=True)


def peers() -> list[Peer]:
    """All that are installed, the reference first."""
    found = [
        _rouge_score(),
        _ours("matbogi, Python", "eojeol", kernel=False, share=0.3),
        _ours("matbogi, Python, ids", None, kernel=False, share=0.3),
    ]
    for make in (_torchmetrics, _rouge_rust, _rouge_score_rs, _compiled, _compiled_ids):
        try:
            found.append(make())
        except ImportError as error:
            print(f"left out: {error}")
    return found


# --- measuring ----------------------------------------------------------------------------------------


def encode(texts: Pairs) -> tuple[list[list[int]], list[list[int]]]:
    """The pairs as lists of ids."""
    ids: dict[str, int] = {}
    first, second = (
        [[ids.setdefault(word, len(ids)) for word in text.split()] for text in side] for side in texts
    )
    return first, second


def check(everybody: Sequence[Peer], texts: Pairs) -> None:
    """All packages find the same means on the first pairs; torchmetrics computes in single precision."""
    first = (texts[0][:100], texts[1][:100])
    expected = everybody[0].means(everybody[0].score(*first))
    for peer in everybody:
        found = peer.means(peer.score(*(encode(first) if peer.encoded else first)))
        if any(abs(one - other) > 1e-6 for one, other in zip(found, expected, strict=True)):
            raise SystemExit(f"{peer.name} finds {found}, not {expected}")


def measure(everybody: Sequence[Peer], texts: Pairs, rounds: int) -> dict[str, float]:
    """Pairs a CPU-second of every package: the median of the rounds."""
    encoded = encode(texts)
    rates: dict[str, list[float]] = {peer.name: [] for peer in everybody}
    for _ in range(rounds):
        for peer in everybody:
            count = max(20, int(len(texts[0]) * peer.share))
            first, second = (side[:count] for side in (encoded if peer.encoded else texts))
            begin = time.process_time()
            peer.score(first, second)
            rates[peer.name].append(count / (time.process_time() - begin))
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    everybody = peers()
    tables = {}
    for size, (words, count) in SIZES.items():
        texts = pairs(words, count)
        check(everybody, texts)
        tables[size] = measure(everybody, texts, options.rounds)
    print(f"{'pairs a CPU-second':<28}" + "".join(f"{size:>12}{'':>9}" for size in SIZES))
    for peer in everybody:
        cells = [(rates[peer.name], rates[peer.name] / rates[everybody[0].name]) for rates in tables.values()]
        print(f"{peer.name:<28}" + "".join(f"{rate:>12,.0f}{ratio:>8,.1f}x" for rate, ratio in cells))


if __name__ == "__main__":
    main()
