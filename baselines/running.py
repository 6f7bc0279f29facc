"""Running a baseline: settings in, ``preds.csv`` and its run card out."""

from __future__ import annotations

import csv
import hashlib
import platform
import subprocess
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from baselines import Baseline, Job, Outcome, Progress, load_baseline
from harness import __version__
from harness.contest import Contest
from harness.errors import HarnessError, UsageError
from harness.run import JSON, Run, card_path, plain_values


class Recipe(NamedTuple):
    """A file that says which baseline to run, with which settings, and why."""

    baseline: str
    settings: dict[str, JSON]
    message: str


def read_recipe(path: Path) -> Recipe:
    """Read a recipe: ``baseline = "lead"``, ``message = "…"``, and a table ``[config]``.

    Raises:
        UsageError: the file is missing, not TOML, or not of that form.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}.") from None
    baseline, message = values.get("baseline"), values.get("message", "")
    settings, unknown = values.get("config", {}), set(values) - {"baseline", "message", "config"}
    faults = [
        *(["baseline must name one"] if not isinstance(baseline, str) else []),
        *(["message must be text"] if not isinstance(message, str) else []),
        *(["[config] must be a table"] if not isinstance(settings, dict) else []),
        *(f"unknown setting {name!r} (settings of the baseline go under [config])" for name in sorted(unknown)),
    ]
    if faults:
        raise UsageError(f"{path}: {'; '.join(faults)}.")
    return Recipe(str(baseline), plain_values(settings, str(path)), message)


def make_config(baseline: Baseline, settings: Mapping[str, Any], origin: str) -> Any:
    """A ``Config`` of ``baseline`` from ``settings``; what they leave out keeps its default.

    Raises:
        UsageError: a setting the baseline does not have; the message names those it has.
    """
    known = [item.name for item in fields(baseline.Config)]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise UsageError(
            f"{origin}: there is no setting {', '.join(unknown)}.", hint=f"There are: {', '.join(known)}."
        )
    return baseline.Config(**settings)


def refuse_from_recipe(baseline: Baseline, recipe: Recipe, origin: str) -> None:
    """Refuse a recipe that sets what only the person at the keyboard may decide.

    Raises:
        UsageError: names all such settings.
    """
    kept = {item.name for item in fields(baseline.Config) if not item.metadata.get("recipe", True)}
    if found := sorted(kept & set(recipe.settings)):
        raise UsageError(
            f"{origin} sets {', '.join(found)}, which a recipe may not: a file from somebody else must not"
            " choose whom your documents and your key are sent to, or what is run.",
            hint="Give it as an option: " + " ".join(f"--{name.replace('_', '-')}" for name in found),
        )


def run_baseline(name: str, config: Any, contest: Contest, predictions: Path, progress: Progress) -> Run:
    """Summarise the contest's test documents, and write ``predictions`` and its card.

    Raises:
        HarnessError: the files cannot be written; or whatever the baseline objects to.
    """
    baseline = load_baseline(name)
    try:
        predictions.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        job = Job(contest.train, contest.test, contest.metric.preset, predictions.parent, progress)
        summaries, notes = _outcome(baseline, config, job)
        seconds = time.perf_counter() - started
        write_predictions(predictions, contest, summaries)
        run = describe_run(name, config, contest, seconds, notes)
        run.save(card_path(predictions))
    except OSError as error:
        raise HarnessError(f"{error.filename or predictions} cannot be written: {error.strerror}.") from None
    return run


def _outcome(baseline: Baseline, config: Any, job: Job) -> Outcome:
    run = getattr(baseline, "run", None)
    if run is None:
        return Outcome(baseline.summarize(config, job.train, job.test, job.progress), {})
    outcome: Outcome = run(config, job)
    return outcome


def default_output(home: Path, name: str, now: datetime) -> Path:
    """Where a run's predictions go: ``runs/<time>-<name>/preds.csv``."""
    return home / "runs" / f"{now:%Y%m%d-%H%M%S}-{name}" / "preds.csv"


def write_predictions(path: Path, contest: Contest, summaries: Sequence[str]) -> None:
    """Write a submission: the contest's ids with ``summaries``, in the same order."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([contest.columns.id, contest.columns.summary])
        writer.writerows(zip(contest.test_ids, summaries, strict=True))


def describe_run(name: str, config: Any, contest: Contest, seconds: float, notes: Mapping[str, Any]) -> Run:
    """The run card: settings, versions, the code's commit, and the hashes of the data."""
    return Run(
        hyperparameters=plain_values(asdict(config), name),
        baseline=name,
        seconds=round(seconds, 3),
        code=_commit(),
        environment={"python": platform.python_version(), "platform": platform.platform(), **_versions()},
        data={file: _sha256(contest.root / file) for file in ("train.csv", "test.csv")},
        notes=plain_values(notes, name),
    )


def _versions() -> dict[str, JSON]:
    versions: dict[str, JSON] = {"matbogi": __version__}
    for package in (
        "numpy",
        "mecab-ko",
        "python-mecab-ko-dic",
        "kiwipiepy",
        "torch",
        "tokenizers",
        "safetensors",
        "transformers",
        "peft",
        "accelerate",
        "bitsandbytes",
        "openai",
        "bm25s",
    ):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _commit() -> str | None:
    """The commit of the code, with ``+`` where it has been changed since; ``None`` outside a checkout."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(  # noqa: S603 - nothing from outside is in it
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],  # noqa: S607
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
