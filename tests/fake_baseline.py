"""A baseline whose decoding can be swept and whose training can be stopped, without a model.

Its figures are drawn from a seed: four beams are better than one by .05, a top_p of .5 is worse by .05,
and all else is noise. It is put into ``BASELINES`` by the tests that use it; run as a program it is the
command line with the baseline ``fake``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines import BASELINES, Job, Outcome, Progress, setting
from baselines.sweep import Trial, Variant, variants
from harness.contest import Example
from harness.errors import Interrupted, UsageError

ROWS = 80


@dataclass(frozen=True)
class Config:
    """Settings by the names that lora has too."""

    adapter: str = setting("", "Do not train.")
    resume: str = setting("", "Go on with the run in this folder.")
    template: str = setting("{text}", "Prompt.")
    steps: int = setting(3, "How many steps.")
    delay: float = setting(0.0, "Seconds that a step takes.")
    num_beams: int = setting(1, "Beams.")
    length_penalty: float = setting(1.0, "Of beams.")
    do_sample: bool = setting(False, "Draw tokens.")
    temperature: float = setting(1.0, "Sampling.")
    top_k: int = setting(0, "Sampling.")
    top_p: float = setting(1.0, "Sampling.")
    stop_strings: str = setting("", "Where to stop.")
    grid: str = setting("", "Ways of decoding to try.", words=True)

    def __post_init__(self) -> None:
        """Refuse what lora refuses."""
        if self.num_beams < 1:
            raise UsageError("num_beams must be above 0.")
        if self.do_sample and self.num_beams > 1:
            raise UsageError("do_sample needs num_beams 1.")


def summarize(
    config: Config, train: Sequence[Example], test: Sequence[Example], progress: Progress
) -> list[str]:
    """The first characters of each document."""
    return [example.text[:20] for example in test]


def run(config: Config, job: Job) -> Outcome:
    """Train, score dev now and then, decode; Ctrl-C stops it as it stops lora."""
    dev = ""
    for step in range(1, config.steps + 1):
        try:
            time.sleep(config.delay)
            note = f"training: loss {3 / step:.3f}  lr 3.0e-03  4,512 tokens/s{dev}"
            job.progress(step, config.steps, note)
            if step % 50 == 0:
                for done in range(0, 101, 20):
                    time.sleep(config.delay * 10)
                    job.progress(done, 100, f"scoring dev: after step {step}")
                dev = f"  dev .2408 at {step}, best"
        except KeyboardInterrupt:
            settings = {"resume": str(job.folder)}
            raise Interrupted(f"Stopped at step {step}; everything is saved.", settings=settings) from None
    (job.folder / "adapter").mkdir(exist_ok=True)
    job.progress(len(job.test), len(job.test), "decoding:")
    return Outcome(summarize(config, job.train, job.test, job.progress), {})


def sweep(config: Config, job: Job) -> list[Trial]:
    """A trial for each variant, in which figures are drawn instead of computed."""
    if not config.adapter:
        (job.folder / "adapter").mkdir(exist_ok=True)
    return [trial(variant, number) for number, variant in enumerate(variants(config.grid, config))]


def trial(variant: Variant, number: int) -> Trial:
    """Rows that share most of their noise with those of every other variant."""
    gain = 0.05 * (variant.config.num_beams == 4) - 0.05 * (variant.config.top_p == 0.5)
    rows = np.random.default_rng(1).beta(4, 5, ROWS) + np.random.default_rng([5, number]).normal(0, 0.02, ROWS)
    rows = rows + gain
    per_row = {"rouge1": rows + 0.1, "rouge2": rows - 0.1, "rougeL": rows}
    return Trial(variant, per_row, 0.5 * variant.config.num_beams, 38.0 + number)


def register() -> None:
    """Make it a baseline of the program."""
    BASELINES["fake"] = ("fake_baseline", "Figures that are drawn.")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import cli

    register()
    cli.SECONDS_BETWEEN_LINES = 0
    cli.main()
