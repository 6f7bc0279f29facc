"""What each command shows: results as grids and lines, in words a newcomer understands.

Every sentence that a person reads about scores, boards and faults is here or in the error that carries
it. Nothing is decided here, and nothing is printed: ``cli.py`` prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contest import VARIANTS, Contest, Split
from harness.errors import InvalidSubmission, Problem
from harness.run import flatten
from harness.scoring import METRIC_TITLES, METRICS, ScoreCard
from harness.tables import Column, Grid, interval_text, plain, score_text, signed_text, sparkline
from harness.text import safe

if TYPE_CHECKING:
    from harness.board import Quota, Standing, SubmissionDetail, SubmissionRow
    from harness.explanation import Arithmetic, Explanation, MarkedToken
    from harness.inspection import ContestDescription
    from harness.intake import Receipt
    from harness.prepare import Prepared
    from harness.rescoring import Rescored
    from harness.submission import CheckReport

SHOWN_PER_CODE = 3
"""Faults of one kind that are written out; the others are counted."""

ROUNDED = 4
"""Decimals of a public score: a full float would tell a prober more than ten rows do."""


# --- the board ------------------------------------------------------------------------------------


def board_metrics(ranked_by: str) -> list[str]:
    """The metrics of a board, the one it is ordered by first."""
    return [ranked_by, *(metric for metric in METRICS if metric != ranked_by)]


def leaderboard(
    contest: Contest,
    standings: Sequence[Standing],
    *,
    split: Split,
    metric: str,
    signature: str,
    hyperparameters: Sequence[str] = (),
    otherwise: int = 0,
    bars: bool = True,
) -> Grid:
    """The board as a grid: one row a standing, baselines dimmed and without a rank.

    ``hyperparameters`` names further columns, by dotted name. ``bars`` draws the progress of each team,
    for outputs that can show block characters. ``otherwise`` counts the submissions that are not shown
    because they were scored in another way.
    """
    first, *others = board_metrics(metric)
    columns = [
        Column("rank", "#", "right"),
        Column("team", "team"),
        Column(first, METRIC_TITLES[first], "right", write=score_text),
        Column("interval", "95% interval", drop=1, write=interval_text, only="people"),
        *(Column(name, METRIC_TITLES[name], "right", drop=3, write=score_text) for name in others),
        Column("versus_first", "vs 1st", drop=2),
        Column("submission_id", "id", "right", drop=4),
        Column("entries", "entries", "right", drop=5),
        *(Column(f"hyperparameters.{name}", name) for name in hyperparameters),
    ]
    if bars:
        columns.append(Column("progress", "progress", drop=6, write=sparkline, only="people"))
    columns += [Column(name, name, only="programs") for name in ("kind", "low", "high", "created_at")]
    return Grid(
        columns=columns,
        rows=[_standing_row(standing, first, hyperparameters) for standing in standings],
        title=f"{contest.title or contest.name} - {split} board",
        notes=[
            f"ranked by {_ranked_by(metric)}",
            signature,
            *([_otherwise_line(otherwise)] if otherwise else []),
        ],
        facts={
            "contest": contest.name,
            "split": split,
            "metric": metric,
            "signature": signature,
            "scored_otherwise": otherwise,
        },
        rows_key="standings",
        dim=lambda row: row["kind"] == "baseline",
        empty="Nobody has submitted yet. Be the first: python cli.py submit preds.csv --team NAME",
    )


def _otherwise_line(count: int) -> str:
    return (
        f"{count:,} submission{'s' * (count != 1)} under another signature: not comparable, so not shown. "
        "Score all as today with: python cli.py rescore"
    )


def _ranked_by(metric: str) -> str:
    return "the mean of R-1, R-2 and R-L (F1)" if metric == "mean" else f"{METRIC_TITLES[metric]} (F1)"


def _standing_row(standing: Standing, metric: str, hyperparameters: Sequence[str]) -> dict[str, Any]:
    leaves = dict(flatten(standing.hyperparameters))
    figures = standing.scores
    row: dict[str, Any] = {
        "rank": standing.rank,
        "team": standing.team,
        "kind": standing.kind,
        "submission_id": standing.submission_id,
        "created_at": standing.created_at,
        "versus_first": _versus_first(standing),
        "entries": standing.entries,
        "interval": (round(figures[metric].low, ROUNDED), round(figures[metric].high, ROUNDED)),
        "low": round(figures[metric].low, ROUNDED),
        "high": round(figures[metric].high, ROUNDED),
        "progress": [round(value, ROUNDED) for value in standing.progress],
    }
    for name, score in figures.items():
        row[name] = round(score.f1, ROUNDED)
        row[f"{name}_precision"] = round(score.precision, ROUNDED)
        row[f"{name}_recall"] = round(score.recall, ROUNDED)
    row |= {
        f"hyperparameters.{name}": _find(standing.hyperparameters, leaves, name) for name in hyperparameters
    }
    return row | {"message": standing.message, "hyperparameters": standing.hyperparameters}


def _find(nested: Mapping[str, Any], leaves: Mapping[str, Any], name: str) -> Any:
    return leaves.get(name, nested.get(name))


def _versus_first(standing: Standing) -> str:
    if standing.kind == "baseline" and standing.rank is None:
        return "baseline"
    if standing.rank == 1 or standing.versus_leader is None:
        return ""
    return "below" if standing.versus_leader.told_apart else "tied"


def rank_line(receipt: Receipt) -> str:
    """Where the team stands after a submission."""
    if receipt.rank is None:
        return "baseline: shown on the board, not ranked"
    tied = ", not told apart from the first" if receipt.tied_with_leader and receipt.rank > 1 else ""
    return f"public rank {receipt.rank} of {receipt.teams}{tied}"


def quota_line(quota: Quota) -> str:
    """How many submissions are left today, and when the count begins anew."""
    if quota.limit is None:
        return "no daily limit"
    local, utc = quota.resets_at.strftime("%H:%M %Z"), quota.resets_at_utc.strftime("%H:%M")
    return f"{quota.left} of {quota.limit} left today (resets {local}, {utc} UTC)"


def best_line(receipt: Receipt) -> str:
    """Whether the team's best has been beaten, and by more than noise."""
    best = receipt.best_before
    if best is None:
        return ""
    found = best.comparison
    verdict = "more than noise" if found.told_apart else "not more than noise"
    return (
        f"against your best so far (#{best.submission_id}, {score_text(best.f1)}): "
        f"{signed_text(found.difference)}, {verdict} (p {_p_text(found.p_value)})"
    )


def _p_text(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def scores(card: ScoreCard, splits: Sequence[Split], *, ranked_by: str, names: Mapping[Split, str]) -> Grid:
    """Precision, recall, F1 and interval of every metric on ``splits``; ``names`` are shown for them."""
    rows = [
        {
            "split": names.get(split, split),
            "metric": metric,
            "precision": round(found.precision, ROUNDED),
            "recall": round(found.recall, ROUNDED),
            "f1": round(found.f1, ROUNDED),
            "interval": (round(found.low, ROUNDED), round(found.high, ROUNDED)),
            "rows": len(found.per_row),
        }
        for split in splits
        for metric in board_metrics(ranked_by)
        for found in (card.get(metric, split),)
    ]
    return Grid(
        columns=[
            Column("split", "rows of"),
            Column("metric", "metric", write=lambda name: METRIC_TITLES[name]),
            Column("precision", "P", "right", write=score_text),
            Column("recall", "R", "right", write=score_text),
            Column("f1", "F1", "right", write=score_text),
            Column("interval", "95% interval", write=interval_text),
            Column("rows", "rows", "right"),
        ],
        rows=rows,
        notes=[card.signature],
        facts={"signature": card.signature, "ranked_by": ranked_by},
        rows_key="scores",
    )


def explanation(id: str, found: Explanation, of: int, preset: str) -> Grid:
    """One prediction beside one of ``of`` references: tokens, what they have in common, the arithmetic."""
    sides = [Column("prediction", "prediction"), *_mark_columns("prediction")]
    sides += [Column("reference", "reference"), *_mark_columns("reference")]
    pairs = zip_longest(found.prediction, found.reference)
    return Grid(
        columns=sides,
        rows=[_marks("prediction", first) | _marks("reference", second) for first, second in pairs],
        title=f"{id}, reference {found.number} of {of}, tokens by {preset}",
        notes=[
            *(_arithmetic_line(line) for line in found.arithmetic),
            f"mean of the three F1 = {score_text(found.mean)}",
        ],
        empty="Neither side has a token.",
    )


def _mark_columns(side: str) -> list[Column]:
    return [Column(f"{side}.{variant}", METRIC_TITLES[variant]) for variant in VARIANTS]


def _marks(side: str, token: MarkedToken | None) -> dict[str, str]:
    if token is None:
        return {}
    marks = {"rouge1": token.unigram, "rouge2": token.bigram, "rougeL": token.lcs}
    return {side: token.token, **{f"{side}.{variant}": "x" for variant in VARIANTS if marks[variant]}}


_UNITS = {
    "rouge1": "tokens in common",
    "rouge2": "pairs of neighbours in common, marked at their first token",
    "rougeL": "tokens in the longest common subsequence",
}


def _arithmetic_line(line: Arithmetic) -> str:
    precision, recall = score_text(line.precision), score_text(line.recall)
    return (
        f"{METRIC_TITLES[line.variant]}: {line.matches} {_UNITS[line.variant]}. "
        f"P = {line.matches}/{line.predicted} = {precision}, R = {line.matches}/{line.referenced} = {recall}, "
        f"F1 = 2PR/(P+R) = {score_text(line.f1)}"
    )


def rescored_lines(found: Rescored) -> list[str]:
    """What came of scoring again, with every submission that could not be."""
    count = len(found.scored)
    lines = [f"{count:,} submission{'s' * (count != 1)} scored under the present signature:", found.signature]
    if not found.scored and not found.left_out:
        lines = ["Every submission has been scored under the present signature:", found.signature]
    lines += [safe(f"Left out: #{submission_id}, {why}") for submission_id, why in found.left_out]
    return lines


def receipt_facts(receipt: Receipt, contest: Contest) -> dict[str, Any]:
    """The receipt for programs. It holds public scores only."""
    grid = scores(receipt.card, ["public"], ranked_by=contest.metric.rank_by, names={})
    best, quota = receipt.best_before, receipt.quota
    return {
        "submission_id": receipt.submission_id,
        "contest": contest.name,
        "team": receipt.team,
        "created_at": receipt.created_at,
        "sha256": receipt.sha256,
        "duplicate": receipt.duplicate,
        "rank": receipt.rank,
        "teams": receipt.teams,
        "tied_with_leader": receipt.tied_with_leader,
        "signature": receipt.card.signature,
        "scores": list(grid.rows),
        "best_before": best
        and {
            "submission_id": best.submission_id,
            "f1": round(best.f1, ROUNDED),
            "difference": round(best.comparison.difference, ROUNDED),
            "low": round(best.comparison.low, ROUNDED),
            "high": round(best.comparison.high, ROUNDED),
            "p_value": round(best.comparison.p_value, ROUNDED),
            "more_than_noise": best.comparison.told_apart,
        },
        "quota": {"limit": quota.limit, "left": quota.left, "resets_at": quota.resets_at_utc.isoformat()},
        "notices": [problem_facts(notice) for notice in receipt.notices],
    }


# --- faults ---------------------------------------------------------------------------------------


def problem_facts(problem: Problem) -> dict[str, Any]:
    """A fault for programs."""
    return {
        "code": problem.code,
        "message": problem.message,
        "line": problem.line,
        "row": problem.row,
        "id": problem.id,
        "hint": problem.hint,
    }


@dataclass(frozen=True)
class FaultGroup:
    """The faults of one kind: the first few, and how many there are."""

    code: str
    title: str
    shown: tuple[Problem, ...]
    count: int
    hint: str


def fault_groups(problems: Iterable[Problem], titles: Mapping[str, str]) -> Iterator[FaultGroup]:
    """``problems`` by code, errors before warnings before notes."""
    ordered = sorted(problems, key=lambda problem: (_gravity(problem.code), problem.code))
    for code, same in groupby(ordered, key=lambda problem: problem.code):
        group = tuple(same)
        hints = dict.fromkeys(problem.hint for problem in group if problem.hint)
        shown = group[:SHOWN_PER_CODE]
        yield FaultGroup(code, titles.get(code, ""), shown, len(group), next(iter(hints), ""))


def _gravity(code: str) -> int:
    """0 for what refuses a file or a folder, 1 for a warning, 2 for a note."""
    return 1 if "W" in code[:2] else 2 if code.startswith("N") else 0


def place(problem: Problem) -> str:
    """Where a fault stands: ``row 6 (line 8), id 005``."""
    parts = []
    if problem.row is not None:
        line = f" (line {problem.line})" if problem.line is not None else ""
        parts.append(f"row {problem.row}{line}")
    elif problem.line is not None:
        parts.append(f"line {problem.line}")
    if problem.id is not None:
        parts.append(f"id {safe(problem.id, 24)}")
    return ", ".join(parts)


def faults_table(problems: Sequence[Problem], titles: Mapping[str, str]) -> Any:
    """A rich renderable of ``problems``, grouped by kind, each with what mends it."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for group in fault_groups(problems, titles):
        style = ("bold red", "yellow", "dim")[_gravity(group.code)]
        count = f" ({group.count:,})" if group.count > 1 else ""
        table.add_row(Text(group.code, style), Text(f"{group.title}{count}" or "", "bold"))
        for problem in group.shown:
            where = place(problem)
            table.add_row("", Text(f"{where}: " if where else "", "cyan") + Text(safe(problem.message)))
        if group.count > len(group.shown):
            table.add_row("", Text(f"... {group.count - len(group.shown):,} more", "dim"))
        if group.hint:
            table.add_row("", Text("-> ", "green") + Text(safe(group.hint)))
    return table


def refusal(fault: InvalidSubmission, quota: Quota) -> str:
    """The first line of a refused file."""
    count = len(fault.problems)
    unchanged = "" if quota.limit is None else f"; still {quota.left} of {quota.limit} submissions left today"
    return f"Not submitted: {count:,} fault{'s' * (count != 1)} (nothing was scored{unchanged})"


def report_facts(report: CheckReport) -> dict[str, Any]:
    """A checker's report for programs, with every fault."""
    return {
        "ok": report.ok,
        "rows": report.rows,
        "sha256": report.sha256,
        "problems": [problem_facts(problem) for problem in report.problems],
        "notices": [problem_facts(notice) for notice in report.notices],
    }


# --- submissions ----------------------------------------------------------------------------------


def submissions(rows: Sequence[SubmissionRow], contest: Contest, split: Split) -> Grid:
    """The history of a board, newest first."""
    metric = contest.metric.rank_by
    return Grid(
        columns=[
            Column("submission_id", "id", "right"),
            Column("created_at", "time (UTC)", drop=2, write=lambda text: str(text)[:16].replace("T", " ")),
            Column("team", "team"),
            Column("state", "state", drop=1),
            Column(metric, METRIC_TITLES[metric], "right", write=score_text),
            *(
                Column(name, METRIC_TITLES[name], "right", drop=4, write=score_text)
                for name in board_metrics(metric)[1:]
            ),
            Column("message", "message", drop=3),
            Column("file_name", "file", drop=5),
        ],
        rows=[
            {
                "submission_id": row.submission_id,
                "created_at": row.created_at,
                "team": row.team,
                "kind": row.kind,
                "state": row.state,
                "message": row.message,
                "file_name": row.file_name,
                **{name: round(value, ROUNDED) for name, value in row.f1.items()},
            }
            for row in rows
        ],
        title=f"{contest.title or contest.name} - submissions, newest first ({split} scores)",
        facts={"contest": contest.name, "split": split},
        rows_key="submissions",
        dim=lambda row: row["kind"] == "baseline",
        empty="Nobody has submitted yet. Be the first: python cli.py submit preds.csv --team NAME",
    )


def detail_lines(detail: SubmissionDetail) -> list[str]:
    """One submission: who, when, what file, what for, and how it was made."""
    run = detail.run
    lines = [
        f"#{detail.submission_id}  {safe(detail.team)}{' (baseline)' if detail.kind == 'baseline' else ''}  "
        f"{detail.state}  {detail.created_at[:19].replace('T', ' ')} UTC  contest {safe(detail.contest)}",
        f"file     {safe(detail.file_name)}  sha256 {detail.sha256}",
    ]
    if detail.message:
        lines.append(f"message  {safe(detail.message)}")
    if run and (made := [safe(plain(run.get(key))) for key in ("baseline", "code") if run.get(key)]):
        lines.append(f"made by  {' at commit '.join(made)}")
    if run and run.get("seconds") is not None:
        lines.append(f"took     {run['seconds']} s")
    return lines


def detail_grids(detail: SubmissionDetail, *, private: bool) -> list[Grid]:
    """The scores of one submission by signature, and its hyperparameters."""
    grids = [
        Grid(
            columns=[
                Column("split", "rows of"),
                Column("metric", "metric", write=lambda name: METRIC_TITLES.get(name, str(name))),
                Column("precision", "P", "right", write=score_text),
                Column("recall", "R", "right", write=score_text),
                Column("f1", "F1", "right", write=score_text),
                Column("interval", "95% interval", write=interval_text),
            ],
            rows=rows,
            notes=[signature],
        )
        for signature, rows in _scores_by_signature(detail, private).items()
    ]
    settings = [{"name": name, "value": value} for name, value in flatten(detail.hyperparameters)]
    if settings:
        columns = [Column("name", "hyperparameter"), Column("value", "value")]
        grids.append(Grid(columns=columns, rows=settings))
    return grids


def _scores_by_signature(detail: SubmissionDetail, private: bool) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for item in detail.scores:
        if item.split == "public" or private:
            row = {
                "split": item.split,
                "metric": item.metric,
                "precision": round(item.precision, ROUNDED),
                "recall": round(item.recall, ROUNDED),
                "f1": round(item.f1, ROUNDED),
                "interval": (round(item.low, ROUNDED), round(item.high, ROUNDED)),
            }
            found.setdefault(item.signature, []).append(row)
    return found


def detail_facts(detail: SubmissionDetail, *, private: bool) -> dict[str, Any]:
    """One submission for programs."""
    return {
        "submission_id": detail.submission_id,
        "contest": detail.contest,
        "team": detail.team,
        "kind": detail.kind,
        "state": detail.state,
        "created_at": detail.created_at,
        "file_name": detail.file_name,
        "sha256": detail.sha256,
        "message": detail.message,
        "scores": _scores_by_signature(detail, private),
        "hyperparameters": detail.hyperparameters,
        "run": detail.run,
        "problems": [problem_facts(problem) for problem in detail.problems],
        "notices": [problem_facts(notice) for notice in detail.notices],
    }


# --- reports and receipts -------------------------------------------------------------------------


def report_lines(report: CheckReport) -> list[str]:
    """A checker's verdict, and what the summaries look like."""
    count = len(report.problems)
    if not report.ok:
        return [f"{count:,} fault{'s' * (count != 1)}: this file would not be scored"]
    warnings = sum(notice.code.startswith("W") for notice in report.notices)
    lines = [
        f"Good: {report.rows:,} summaries"
        + (f", {warnings} warning{'s' * (warnings != 1)}" if warnings else "")
    ]
    if report.lengths:
        low, middle, high = report.lengths
        lines.append(f"characters a summary: shortest {low}, median {middle:g}, longest {high}")
    return lines


def receipt_headline(receipt: Receipt) -> str:
    """The first line of a receipt."""
    again = (
        "  (handed in before: this is the first receipt, and nothing was counted)" if receipt.duplicate else ""
    )
    return f"#{receipt.submission_id}  {safe(receipt.team)}{again}"


def receipt_lines(receipt: Receipt) -> list[str]:
    """What stands below the scores of a receipt."""
    standing = rank_line(receipt)
    if receipt.rank is not None:
        standing += f"; {quota_line(receipt.quota)}"
    return [line for line in (best_line(receipt), standing) if line]


# --- contests -------------------------------------------------------------------------------------


def prepared_lines(prepared: Prepared) -> list[str]:
    """What ``contest new`` has made."""
    contest, counts = prepared.contest, prepared.counts
    left_out = [
        f"{count:,} {what}" for count, what in ((counts.empty, "empty"), (counts.doubled, "doubled")) if count
    ]
    read = f"{counts.read:,} rows read" + (f", {' and '.join(left_out)} left out" if left_out else "")
    references = f", up to {counts.references} references a row" if counts.references > 1 else ""
    return [
        f"Contest '{contest.name}' is in {safe(str(contest.root))}",
        f"{read}: {counts.train:,} to train on, {counts.test:,} to test "
        f"({counts.public:,} public, {counts.private:,} private{references}); seed {prepared.seed}",
        "Give teams everything but the folder private/.",
    ]


def inspection_line(root: Path, problems: Sequence[Problem]) -> str:
    """The verdict on a contest folder."""
    faults = sum(_gravity(problem.code) == 0 for problem in problems)
    warnings = len(problems) - faults
    found = f"{faults:,} fault{'s' * (faults != 1)}, {warnings:,} warning{'s' * (warnings != 1)}"
    return f"{safe(str(root))}: {found if problems else 'nothing wrong was found'}"


def is_fault(problem: Problem) -> bool:
    """Whether ``problem`` refuses the file or the folder it is about."""
    return _gravity(problem.code) == 0


def contest_parts(description: ContestDescription) -> list[str | Grid]:
    """Counts, lengths and rules of a contest."""
    return [
        f"{safe(description.title or description.name)} ({safe(description.name)})",
        *([safe(description.description)] if description.description else []),
        "",
        _count_line(description),
        "",
        Grid(
            columns=[
                Column("table", "table"),
                Column("column", "column"),
                Column("unit", "in"),
                Column("minimum", "shortest", "right"),
                Column("median", "median", "right"),
                Column("mean", "mean", "right", write=lambda value: f"{value:.1f}"),
                Column("p95", "95% up to", "right"),
                Column("maximum", "longest", "right"),
            ],
            rows=[asdict(item) for item in description.lengths],
        ),
        "",
        *_rule_lines(description),
    ]


def _count_line(description: ContestDescription) -> str:
    line = f"{description.train:,} rows to train on, {description.test:,} to summarise"
    if description.public is None:
        return f"{line}; the answers are not here"
    several = [f"{rows:,} with {count}" for count, rows in description.references or () if count > 1]
    references = f"; references a row: {', '.join(several)}, the others 1" if several else ""
    return f"{line} ({description.public:,} public, {description.private:,} private){references}"


def _rule_lines(description: ContestDescription) -> list[str]:
    metric, rules, dates = description.metric, description.rules, description.dates
    several = any(count > 1 for count, _ in description.references or ())
    combined = f"; of several references the {metric.multiple_references}" if several else ""
    limit = f"{rules.daily_limit} a team and day ({dates.timezone})" if rules.daily_limit else "without limit"
    opens, closes = (
        moment.strftime("%Y-%m-%d %H:%M %Z") if moment else "" for moment in (dates.opens, dates.closes)
    )
    when = " ".join(
        part for part in (f"from {opens}" if opens else "", f"until {closes}" if closes else "") if part
    )
    return [
        f"scored by     ROUGE-1, -2, -L F1 over '{metric.preset}' tokens{combined}",
        f"ranked by     {_ranked_by(metric.rank_by)}",
        f"submissions   {limit}{', ' + when if when else ''}",
    ]
