"""The contest's story again, one change at a time, on the embedded model: the table of docs/the-story-again.md.

``PYTHONPATH=. python benchmarks/story.py`` runs the small recipes (about three minutes each on 2 cores, and
each with as many seeds as ``--seeds`` says), hands every run in, and prints a Markdown table: each step's
mean F1 over all 500 test rows with its 95% interval, and its difference from the step it changes, by a paired
randomisation test on the same rows. A run that is there already is not made again. The sample contest's answers
are open, so its hidden half may be looked at; on a real contest they may not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness import Contest, score
from harness.significance import compare, interval
from harness.text import safe

RECIPES = Path("recipes")
SPLITS: tuple[Literal["public", "private"], ...] = ("public", "private")


class Step(NamedTuple):
    """A recipe, and the recipe it changes one thing of."""

    recipe: str
    before: str | None


STEPS = (
    Step("official-mini", None),
    Step("rank-4-mini", "official-mini"),
    Step("adamw-mini", "official-mini"),
    Step("warm-restarts-mini", "adamw-mini"),
    Step("t5-beams-mini", "adamw-mini"),
    Step("all-linear-mini", "warm-restarts-mini"),
)


def run(recipe: str, seed: int, folder: Path, hand_in: bool) -> Path:
    """The predictions of a recipe; made, and handed in, where they are not there yet."""
    predictions = folder / f"{recipe}-{seed}" / "preds.csv"
    if not predictions.is_file():
        message = tomllib.loads((RECIPES / f"{recipe}.toml").read_text("utf-8"))["message"]
        command = [sys.executable, "cli.py", "baseline", "lora", "--recipe", f"{RECIPES / recipe}.toml"]
        command += ["--seed", str(seed), "-o", str(predictions)]
        command += ["--submit", "-m", f"{message}, seed {seed}"] if hand_in else []
        print(" ".join(command), file=sys.stderr, flush=True)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return predictions


def per_row(predictions: Sequence[Path], contest: Contest) -> NDArray[np.float64]:
    """The mean F1 of ROUGE-1, 2 and L of every test row, float64 [rows], averaged over runs."""
    cards = [score(path, contest) for path in predictions]
    runs = [np.concatenate([card.get("mean", split).per_row for split in SPLITS]) for card in cards]
    mean: NDArray[np.float64] = np.mean(runs, axis=0)
    return mean


def row(step: Step, scores: dict[str, NDArray[np.float64]], runs: list[float]) -> str:
    """A line of the table."""
    mine = scores[step.recipe]
    low, high = interval(mine)
    cells = [f"`{step.recipe}`", f"{mine.mean():.4f}", f"{low:.3f} to {high:.3f}"]
    cells.append(" ".join(f"{value:.4f}" for value in runs))
    if step.before is None:
        return "| " + " | ".join([*cells, "", "", ""]) + " |"
    found = compare(scores[step.before], mine)
    verdict = ("better" if found.difference > 0 else "worse") if found.told_apart else "noise"
    cells += [f"{found.difference:+.4f} against `{step.before}`", f"{found.p_value:.4f}", verdict]
    return "| " + " | ".join(cells) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each recipe")
    parser.add_argument("--folder", type=Path, default=Path("runs/story"), help="where the runs lie")
    parser.add_argument("--no-submit", action="store_true", help="leave the board alone")
    options = parser.parse_args(arguments)
    contest = Contest.load("contests/mini")
    scores: dict[str, NDArray[np.float64]] = {}
    print("| recipe | mean F1 | 95% interval | each seed | difference | p | verdict |")
    print("|---|---|---|---|---|---|---|")
    for step in STEPS:
        made = [run(step.recipe, seed, options.folder, not options.no_submit) for seed in range(options.seeds)]
        scores[step.recipe] = per_row(made, contest)
        means = [float(per_row([path], contest).mean()) for path in made]
        print(safe(row(step, scores, means)), flush=True)


if __name__ == "__main__":
    main()
