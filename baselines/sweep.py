"""A decoding sweep: several ways of decoding on the same rows of dev, and a verdict on all of them together.

::

    plan("num_beams=1,4 top_p=.9", config)   as set; num_beams=4; do_sample=true top_p=0.9
    judge(trials).sentences                  None of 2 is better than noise.

A baseline that can be swept has a setting ``grid`` and a function ``sweep(config, job) -> list[Trial]``: one
trial for each of ``plan(config.grid, config).variants``, in order, all on the same rows of a dev split of
train.csv. The best of many looks good by luck alone, so p-values are adjusted for the number tried.
"""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from baselines import Job, Progress, load_baseline
from baselines.running import describe_run
from harness.contest import VARIANTS, Contest
from harness.errors import HarnessError, UsageError
from harness.tables import Column, Grid, score_text, signed_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.significance import FamilyComparison

DECODING = (
    "max_new_tokens", "min_new_tokens", "max_characters", "min_characters", "stop_strings", "num_beams",
    "length_penalty", "do_sample", "temperature", "top_k", "top_p", "repetition_penalty",
    "no_repeat_ngram_size", "seed",
)  # fmt: skip
"""What a grid may change: the fields of ``baselines.search.Decoding``, listed because that one needs torch."""

SAMPLING = ("temperature", "top_k", "top_p", "seed")
"""Settings that do something only where tokens are drawn."""

MAX_VARIANTS = 64
MAX_COMBINATIONS = 10_000
"""What a grid may multiply to before settings that do nothing are taken out."""

AS_SET = "as set"
SWITCHES = {"true": True, "yes": True, "on": True, "1": True,
            "false": False, "no": False, "off": False, "0": False}  # fmt: skip
ROUNDED = 6  # decimals in JSON and CSV
NAMED = 3  # variants that a verdict names; the table marks them all


# --- the grid ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """One way of decoding: the settings that differ from those as set, and the whole ``Config``."""

    changes: Mapping[str, Any]
    config: Any

    @property
    def name(self) -> str:
        """The changed settings, as they would be typed: ``num_beams=4 length_penalty=2``."""
        return _named(self.changes) or AS_SET


class Plan(NamedTuple):
    """The variants to try, the settings as they are first, and a sentence for each thing left out."""

    variants: list[Variant]
    left_out: list[str]


def variants(grid: str, config: Any) -> list[Variant]:
    """The variants of ``plan``."""
    return plan(grid, config).variants


def plan(grid: str, config: Any) -> Plan:
    """The cross product of ``grid`` (``"num_beams=1,4 top_p=.9,.95"``) over ``config``, without repetitions.

    A grid that names a setting of sampling (temperature, top_k, top_p, seed) draws tokens where num_beams
    is 1, unless it names do_sample itself. Beams do not sample, and greedy decoding has neither a
    temperature nor a length_penalty: settings that would do nothing are taken out of a combination, and
    what then equals another is left out and said.

    Raises:
        UsageError: a word that is not NAME=VALUES, an unknown name, a value of the wrong kind or out of
            range, too many variants, or none that differs from ``config``.
    """
    values = _read(grid, config)
    if math.prod(map(len, values.values())) > MAX_COMBINATIONS:
        raise UsageError(f"The grid has more than {MAX_COMBINATIONS:,} combinations.", hint=_FEWER)
    found, left_out = [Variant({}, config)], _LeftOut()
    seen: set[tuple[tuple[str, Any], ...]] = {()}
    for combination in product(*values.values()):
        settled = _settle(dict(zip(values, combination, strict=True)), config, left_out)
        changes = {
            name: settled[name]
            for name in DECODING
            if settled and name in settled and settled[name] != getattr(config, name)
        }
        key = tuple(changes.items())
        if key in seen:
            continue
        seen.add(key)
        found.append(Variant(changes, _changed(config, changes)))
        if len(found) > MAX_VARIANTS:
            raise UsageError(f"The grid has more than {MAX_VARIANTS} variants.", hint=_FEWER)
    if len(found) == 1:
        raise UsageError(
            "Nothing in the grid differs from the settings as they are.",
            hint="\n".join([*left_out.sentences(), "Sampling needs num_beams 1; length_penalty needs more."]),
        )
    return Plan(found, left_out.sentences())


_FEWER = "Fewer values: what many variants find has to be clearer, to be told from luck."


def _read(grid: str, config: Any) -> dict[str, list[Any]]:
    """The values of every name in ``grid``, each of its setting's type."""
    words = shlex.shlex(grid, posix=True)
    words.whitespace_split, words.escape, words.commenters = True, "", ""
    hints, found = get_type_hints(type(config)), dict[str, list[Any]]()
    known = [name for name in DECODING if name in hints]
    try:
        split = list(words)
    except ValueError:
        raise UsageError(f"--grid {grid}: a quotation mark is not closed.") from None
    for word in split:
        written, equals, listed = word.partition("=")
        name = written.strip().replace("-", "_")
        if not equals or not name:
            raise UsageError(f"--grid: {word!r} is not of the form NAME=VALUES.", hint=_EXAMPLE)
        if name not in known:
            raise UsageError(_unknown(name, hints), hint=_suggestion(name, known))
        values = [_value(name, text.strip(), hints[name]) for text in listed.split(",")]
        found[name] = list(dict.fromkeys([*found.get(name, []), *values]))
    if not found:
        raise UsageError("The grid is empty.", hint=_EXAMPLE)
    return found


_EXAMPLE = "For example: --grid num_beams=1,2,4 length_penalty=1,2"


def _unknown(name: str, hints: Mapping[str, Any]) -> str:
    if name in hints:
        return f"--grid: {name} is not a decoding setting; another value of it needs a run of its own."
    return f"--grid: there is no decoding setting {name!r}."


def _suggestion(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return (f"Did you mean {near[0]!r}? " if near else "") + f"There are: {', '.join(known)}."


def _value(name: str, text: str, kind: type) -> Any:
    """``text`` as a value of ``kind``: bool, int, float or str."""
    if kind is str:
        return text
    if kind is bool:
        if text.lower() in SWITCHES:
            return SWITCHES[text.lower()]
        raise UsageError(f"--grid: {name} is true or false, not {text!r}.")
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"--grid: {name} takes {what}, not {text!r}.")
    return value


class _LeftOut:
    """What was taken out of combinations, gathered into a sentence each."""

    def __init__(self) -> None:
        self._beams: dict[tuple[str, str], list[int]] = {}

    def add(self, what: str, why: str, beams: int) -> None:
        """``what`` was taken out at so many ``beams``."""
        found = self._beams.setdefault((what, why), [])
        if beams not in found:
            found.append(beams)

    def sentences(self) -> list[str]:
        """``With num_beams=2, 4: no top_p (beams do not sample).``"""
        return [
            f"With num_beams={', '.join(map(str, beams))}: no {what} ({why})."
            for (what, why), beams in self._beams.items()
        ]


def _settle(chosen: dict[str, Any], config: Any, left_out: _LeftOut) -> dict[str, Any] | None:
    """``chosen`` without settings that do nothing there, and with do_sample as it has to be.

    ``None`` for beams that are told to sample.
    """
    beams = chosen.get("num_beams", getattr(config, "num_beams", 1))
    asked = chosen.get("do_sample")
    if asked and beams > 1:
        left_out.add("do_sample=true", _NO_DRAWING, beams)
        return None
    drawn = [name for name in SAMPLING if name in chosen]
    sample = beams == 1 and (bool(drawn or getattr(config, "do_sample", False)) if asked is None else asked)
    idle = {} if sample else dict.fromkeys(drawn, _NO_DRAWING if beams > 1 else "nothing is drawn")
    if beams == 1 and "length_penalty" in chosen:
        idle["length_penalty"] = "one beam has nothing to choose from"
    for name, why in idle.items():
        left_out.add(name, why, beams)
    settled = {name: value for name, value in chosen.items() if name not in idle}
    return settled | ({"do_sample": sample} if hasattr(config, "do_sample") else {})


_NO_DRAWING = "beams do not sample"


def _changed(config: Any, changes: Mapping[str, Any]) -> Any:
    try:
        return replace(config, **changes)
    except UsageError as error:
        raise UsageError(f"--grid, {_named(changes)}: {error.message}", hint=error.hint) from None


def _named(changes: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_shown(value)}" for name, value in changes.items())


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return (
        f"{value:g}"
        if isinstance(value, float)
        else shlex.quote(value)
        if isinstance(value, str)
        else str(value)
    )


# --- the verdict ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Trial:
    """What one variant came to on the rows of dev.

    ``per_row`` maps ``rouge1``, ``rouge2`` and ``rougeL`` to F1, each float64 [rows], the rows of all trials
    being the same and in the same order. ``seconds`` is the time it took, ``None`` where it was not taken
    alone; ``characters`` is the mean length of its summaries.
    """

    variant: Variant
    per_row: Mapping[str, NDArray[np.float64]]
    seconds: float | None
    characters: float

    @property
    def figures(self) -> NDArray[np.float64]:
        """The ranking figure of every row: the mean of its three F1, float64 [rows]."""
        import numpy as np

        mean: NDArray[np.float64] = np.mean([self.per_row[name] for name in VARIANTS], axis=0)
        return mean


@dataclass(frozen=True, eq=False)
class Judged:
    """A trial, its mean figure, and how it compares with the first one (``None`` for the first itself)."""

    trial: Trial
    figure: float
    comparison: FamilyComparison | None

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.trial.variant.name

    @property
    def mark(self) -> str:
        """``better`` or ``worse`` where the difference is more than noise, else nothing."""
        if self.comparison is None or not self.comparison.told_apart:
            return ""
        return "better" if self.comparison.difference > 0 else "worse"


@dataclass(frozen=True, eq=False)
class Verdict:
    """All trials judged, in the order in which they were planned."""

    judged: tuple[Judged, ...]
    rows: int

    @property
    def tried(self) -> int:
        """How many were held against the settings as they are."""
        return len(self.judged) - 1

    def marked(self, mark: str) -> list[Judged]:
        """The trials that are ``better``, or ``worse``, by more than noise, the highest figure first."""
        return sorted((each for each in self.judged if each.mark == mark), key=lambda each: -each.figure)

    @property
    def sentences(self) -> list[str]:
        """What was found, for people: what is better, or that nothing is; then what is worse."""
        better, worse = self.marked("better"), self.marked("worse")
        lines = [f"{each.name} is better than {AS_SET}: {_evidence(each)}." for each in better[:NAMED]]
        lines += [f"{len(better) - NAMED} more are better too."] if len(better) > NAMED else []
        lines += ["Which of these is the best was not tested."] if len(better) > 1 else []
        lines += [] if better else self._nothing_better()
        if worse:
            listed = ", ".join(f"{each.name} ({_difference(each)})" for each in worse[:NAMED])
            more = f" and {len(worse) - NAMED} more" if len(worse) > NAMED else ""
            lines.append(f"Worse than {AS_SET}, by more than noise: {listed}{more}.")
        return lines

    def _nothing_better(self) -> list[str]:
        none = "The one tried is not" if self.tried == 1 else f"None of {self.tried} is"
        lines = [f"{none} better than noise."]
        highest = max(self.judged, key=lambda each: each.figure)
        if highest.comparison is not None and highest.comparison.difference > 0:
            lines.append(f"The highest, {highest.name}: {_evidence(highest, alone=True)}.")
        return lines


def judge(trials: Sequence[Trial]) -> Verdict:
    """Hold every trial against the first, row by row on the ranking figure, allowing for their number.

    The chance of calling anything better or worse where nothing is stays at 5%, however many are tried
    (``harness.significance.compare_family``).

    Raises:
        ValueError: there is no trial, or they are not of the same rows.
    """
    import numpy as np

    from harness.significance import compare_family

    figures = np.stack([trial.figures for trial in trials], axis=1)  # [rows, trials]
    found = compare_family(figures[:, 0], figures[:, 1:])
    rows = len(figures)
    means = [math.fsum(column) / max(1, rows) for column in figures.T]
    judged = map(Judged, trials, means, [None, *found])
    return Verdict(tuple(judged), rows)


def _evidence(judged: Judged, *, alone: bool = False) -> str:
    found = judged.comparison
    assert found is not None  # noqa: S101 - the first trial is never better or worse than itself
    own = f"p {p_text(found.p_value)} alone, " if alone else ""
    interval = range_text((found.low, found.high))
    return f"{_difference(judged)} (95% {interval}, {own}corrected p {p_text(found.adjusted_p_value)})"


def _difference(judged: Judged) -> str:
    return signed_text(judged.comparison.difference) if judged.comparison else ""


def p_text(value: float | None) -> str:
    """A p-value to three decimals: ``.012``, ``<.001``; nothing for ``None``."""
    if value is None:
        return ""
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def range_text(value: tuple[float, float] | None) -> str:
    """An interval whose ends may be negative: ``-.004 to .021``; nothing for ``None``."""
    if value is None:
        return ""
    # Adding 0 turns a rounded -0.0 into 0.0.
    return " to ".join(f"{round(end, 3) + 0.0:.3f}".replace("0.", ".", 1) for end in value)


# --- the table --------------------------------------------------------------------------------------


def as_grid(verdict: Verdict, left_out: Sequence[str] = ()) -> Grid:
    """A row a variant: the settings as they are first, then the highest figure first."""
    first, *others = verdict.judged
    rows = [_row(each) for each in (first, *sorted(others, key=lambda each: -each.figure))]
    timed = any(row["seconds"] is not None for row in rows)
    columns = [
        Column("variant", "variant"),
        *(Column(name, title, "right", drop, score_text)
          for name, title, drop in (("rouge1", "R-1", 4), ("rouge2", "R-2", 5), ("rougeL", "R-L", 6))),
        Column("mean", "mean", "right", 0, score_text),
        Column("difference", f"vs {AS_SET}", "right", 0, _signed),
        Column("interval", "95% interval", "left", 3, range_text, "people"),
        Column("low", "low", only="programs"),
        Column("high", "high", only="programs"),
        Column("p_value", "p alone", "right", 2, p_text),
        Column("adjusted_p_value", "corrected p", "right", 0, p_text),
        Column("mark", ""),
        Column("characters", "characters", "right", 7, "{:.0f}".format),
        *([Column("seconds", "seconds", "right", 8, _seconds)] if timed else []),
    ]  # fmt: skip
    how = f"corrected p: for {verdict.tried} tried together (step-down maxT); p alone: as if one."
    return Grid(
        columns, rows, title=f"{len(rows)} ways of decoding, {verdict.rows} rows of dev",
        notes=[*left_out, how],
        facts={"verdict": verdict.sentences, "tried": verdict.tried, "rows": verdict.rows,
               "better": [each.name for each in verdict.marked("better")],
               "worse": [each.name for each in verdict.marked("worse")], "left_out": list(left_out)},
        rows_key="variants",
    )  # fmt: skip


def _row(judged: Judged) -> dict[str, Any]:
    trial, found = judged.trial, judged.comparison
    row: dict[str, Any] = {"variant": judged.name, "changes": dict(trial.variant.changes)}
    row |= {name: round(float(trial.per_row[name].mean()), ROUNDED) for name in VARIANTS}
    row |= {"mean": round(judged.figure, ROUNDED)}
    for name in ("difference", "low", "high", "p_value", "adjusted_p_value"):
        row[name] = None if found is None else round(getattr(found, name), ROUNDED)
    interval = None if found is None else (row["low"], row["high"])
    seconds = None if trial.seconds is None else round(trial.seconds, 3)
    return row | {"interval": interval, "mark": judged.mark, "characters": round(trial.characters, 1),
                  "seconds": seconds}  # fmt: skip


def _signed(value: float | None) -> str:
    return "" if value is None else signed_text(value)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


# --- a whole sweep ----------------------------------------------------------------------------------


class Sweep(NamedTuple):
    """A sweep's verdict, its table, and what the settings of the next run change (``None``: leave it out)."""

    verdict: Verdict
    grid: Grid
    next_settings: dict[str, Any]


def run_sweep(name: str, config: Any, contest: Contest, folder: Path, progress: Progress) -> Sweep:
    """Try the variants of ``config.grid`` with the baseline ``name``, and write ``folder/sweep.json``.

    The file has the table, the verdict, and the run card: every setting, versions, hashes of the data.

    Raises:
        HarnessError: the file cannot be written; or whatever the baseline objects to.
    """
    tried = plan(config.grid, config)
    module: Any = load_baseline(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        trials = module.sweep(config, Job(contest.train, contest.test, contest.metric.preset, folder, progress))
        verdict = judge(trials)
        grid = as_grid(verdict, tried.left_out)
        card = describe_run(name, config, contest, time.perf_counter() - started, {})
        record = {**grid.facts, grid.rows_key: list(grid.rows), "run": card.to_json()}
        text = json.dumps(record, ensure_ascii=False, indent=2)
        (folder / "sweep.json").write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise HarnessError(f"{error.filename or folder} cannot be written: {error.strerror}.") from None
    return Sweep(verdict, grid, dict(_next_settings(verdict, config, folder)))


def _next_settings(verdict: Verdict, config: Any, folder: Path) -> Iterator[tuple[str, Any]]:
    """What is better, where something is; and the adapter that was trained for the sweep, if one was."""
    yield from next((each.trial.variant.changes.items() for each in verdict.marked("better")), ())
    names = {item.name for item in fields(config)}
    if "adapter" in names and not config.adapter and (folder / "adapter").is_dir():
        yield "adapter", str(folder / "adapter")
        yield "resume", None
