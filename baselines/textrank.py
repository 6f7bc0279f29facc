"""The second floor: the sentences that share the most nouns with the others.

TextRank (Mihalcea and Tarau, "TextRank: Bringing Order into Texts", EMNLP 2004): sentences are the nodes
of a graph, their similarity weighs its edges (equation in section 4.1), and PageRank (equation 2) ranks
them. Words are the nouns that Mecab finds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines import Progress, setting
from baselines.sentences import cut, split_sentences
from harness.contest import Example
from harness.errors import UsageError
from harness.tokenizers import load_mecab

CONVERGED = 1e-6
MAX_ITERATIONS = 100


@dataclass(frozen=True)
class Config:
    """Hyperparameters of ``textrank``."""

    sentences: int = setting(1, "How many sentences to take, in the document's order.")
    damping: float = setting(0.85, "Damping factor of PageRank.")
    max_characters: int = setting(0, "Cut the summary to this many characters; 0 does not cut.")


def summarize(
    config: Config, train: Sequence[Example], test: Sequence[Example], progress: Progress
) -> list[str]:
    """The best-ranked sentences of every document. ``train`` is not used."""
    if config.sentences < 1 or config.max_characters < 0 or not 0 <= config.damping < 1:
        raise UsageError("sentences must be at least 1, max_characters at least 0, damping from 0 to below 1.")
    summaries = []
    for done, example in enumerate(test, start=1):
        sentences = split_sentences(example.text)
        chosen = rank_sentences([nouns(sentence) for sentence in sentences], config.damping)
        best = sorted(chosen[: config.sentences])
        summaries.append(cut(" ".join(sentences[index] for index in best), config.max_characters))
        progress(done, len(test))
    return summaries


def nouns(text: str) -> list[str]:
    """The common and proper nouns of ``text``, repetitions kept."""
    return [surface for surface, tag in load_mecab().parse(text) if tag.startswith(("NNG", "NNP"))]


def rank_sentences(words: Sequence[Sequence[str]], damping: float) -> list[int]:
    """Indices of the sentences, the most central first; equals keep the document's order."""
    scores = page_rank(similarities(words), damping)
    # Rounded, so that a difference in the last bit between machines does not decide.
    return sorted(range(len(words)), key=lambda index: (-round(float(scores[index]), 9), index))


def similarities(sentences: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Float64 [sentences, sentences]: shared nouns over ``log|a| + log|b|`` (Mihalcea and Tarau, 4.1)."""
    sets = [frozenset(words) for words in sentences]
    matrix = np.zeros((len(sentences), len(sentences)))
    for i, first in enumerate(sets):
        for j in range(i):
            shared = len(first & sets[j])
            length = math.log(max(len(sentences[i]), 1)) + math.log(max(len(sentences[j]), 1))
            # Two sentences of one noun each have length 0: the formula gives nothing for them.
            if shared and length > 0:
                matrix[i, j] = matrix[j, i] = shared / length
    return matrix


def page_rank(weights: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """Float64 [n] from symmetric weights [n, n], by power iteration (Mihalcea and Tarau, equation 2)."""
    count = len(weights)
    totals = weights.sum(axis=0)
    shares = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)
    scores: NDArray[np.float64] = np.ones(count)
    for _ in range(MAX_ITERATIONS):
        updated: NDArray[np.float64] = (1 - damping) + damping * (shares @ scores)
        if np.abs(updated - scores).max(initial=0.0) < CONVERGED:
            return updated
        scores = updated
    return scores
