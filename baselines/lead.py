"""The first floor: the beginning of the document.

Journalists put the news first, so this is hard to beat on news and easy on everything else. What it
scores is what doing nothing scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from baselines import Progress, setting
from baselines.sentences import cut, split_sentences
from harness.contest import Example
from harness.errors import UsageError


@dataclass(frozen=True)
class Config:
    """Hyperparameters of ``lead``."""

    sentences: int = setting(1, "How many sentences to take from the beginning; 0 takes all.")
    max_characters: int = setting(0, "Cut the summary to this many characters; 0 does not cut.")


def summarize(
    config: Config, train: Sequence[Example], test: Sequence[Example], progress: Progress
) -> list[str]:
    """The first sentences of every document, cut to the length asked for. ``train`` is not used."""
    if config.sentences < 0 or config.max_characters < 0:
        raise UsageError("sentences and max_characters must not be negative.")
    summaries = []
    for done, example in enumerate(test, start=1):
        sentences = split_sentences(example.text)
        chosen = sentences[: config.sentences] if config.sentences else sentences
        summaries.append(cut(" ".join(chosen), config.max_characters))
        progress(done, len(test))
    return summaries
