"""matbogi on the command line: parse, call, print. Nothing is decided here.

``python cli.py --help`` shows the commands. Results go to standard output, messages to standard error.
Exit codes: 0 done, 1 a bug (with its traceback), 2 usage, 3 invalid submission, 4 refused by the rules,
5 not authorised, 6 a service could not be reached, 130 interrupted with Ctrl-C.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the very point is to run on older ones, and say so
    sys.exit("matbogi needs Python 3.11 or later; this is %d.%d." % sys.version_info[:2])  # noqa: UP031

import io
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

try:
    import click
except ModuleNotFoundError:
    sys.exit(
        "matbogi is not installed in this Python. Install it with:\n"
        "  python -m pip install -c constraints.txt -e .\n"
        "or let make build an environment: make demo"
    )

from click.core import ParameterSource

from harness.errors import HarnessError, Interrupted, InvalidSubmission, Problem, UsageError

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from baselines import Job, Progress
    from baselines.sweep import Sweep
    from harness.board import Board
    from harness.contest import Answer, Contest, Metric
    from harness.pace import Stages
    from harness.run import JSON, Run
    from harness.tables import Grid

F = TypeVar("F", bound=Callable[..., Any])

PROGRAM = "matbogi" if Path(sys.argv[0]).stem == "matbogi" else "python cli.py"
SECONDS_BETWEEN_LINES = 30
"""How often a long run speaks where there is no terminal to draw a bar on."""
WIDEST_BAR, NARROWEST_BAR = 40, 12  # cells
EXIT_INVALID = InvalidSubmission.exit_code


# --- the one door out -----------------------------------------------------------------------------


class Door(click.Group):
    """The group in which every expected error is printed as a message; a bug keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and turn a ``HarnessError`` into its message and exit code."""
        try:
            return super().invoke(ctx)
        except HarnessError as error:
            _print_error(error)
            ctx.exit(error.exit_code)


def _print_error(error: HarnessError) -> None:
    from harness.text import safe

    say(f"Error: {safe(error.message)}", bold=True)
    if isinstance(error, InvalidSubmission):
        _print_faults([*error.problems, *error.notices])
    elif problems := getattr(error, "problems", ()):
        _print_faults(list(problems))
    for line in error.hint.splitlines():
        say(safe(line))


def say(line: str, *, bold: bool = False) -> None:
    """Print a message, to standard error."""
    from rich.text import Text

    _console(stderr=True).print(Text(line, "bold" if bold else ""), soft_wrap=True)


def result(text: str) -> None:
    """Print a result, to standard output."""
    click.echo(text)


def _console(*, stderr: bool = False, width: int | None = None) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def _print_grid(grid: Grid, form: str) -> None:
    from harness.tables import as_table, render

    if form != "table":
        result(render(grid, form))  # type: ignore[arg-type]
        return
    console = _console()
    # A pipe has no width: whoever reads it can scroll, so nothing is dropped.
    width = console.width if console.is_terminal or "COLUMNS" in os.environ else None
    console = console if width else _console(width=10_000)
    console.print(as_table(grid, width), soft_wrap=width is None)


def _print_faults(problems: Sequence[Problem]) -> None:
    from harness.screens import faults_table

    _console(stderr=True).print(faults_table(problems, _titles(problems)))


def _titles(problems: Sequence[Problem]) -> dict[str, str]:
    """What the codes of ``problems`` are called; contest folders have codes of their own."""
    if any(problem.code.startswith("C") for problem in problems):
        from harness.inspection import CODES as FOLDER_CODES

        return {code: entry.title for code, entry in FOLDER_CODES.items()}
    from harness.submission import CODES

    return {code: entry.title for code, entry in CODES.items()}


def _can_draw_bars() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")


# --- options that several commands share ------------------------------------------------------------

contest_option = click.option(
    "--contest", "contest_name", envvar="MATBOGI_CONTEST", metavar="NAME|FOLDER",
    help="The contest: a name in contests/, or a folder. [env: MATBOGI_CONTEST]",
)  # fmt: skip
board_option = click.option(
    "--board", "board_path", envvar="MATBOGI_BOARD", metavar="FILE|URL",
    help="The board: leaderboard.db beside contests/ unless told otherwise. [env: MATBOGI_BOARD]",
)  # fmt: skip
team_option = click.option(
    "--team", envvar="MATBOGI_TEAM", metavar="NAME",
    help="Your team; your user name unless told otherwise. [env: MATBOGI_TEAM]",
)  # fmt: skip


def format_option(*forms: str) -> Callable[[F], F]:
    """The option ``--format`` with the formats a command can write."""
    return click.option(
        "--format", "form", type=click.Choice(forms), default=forms[0], show_default=True, help="How to print."
    )


def _contest(name: str | None) -> Contest:
    from harness.contest import Contest
    from harness.home import find_contest, find_home

    return Contest.load(find_contest(find_home(Path.cwd()), name))


@contextmanager
def _board(path: str | None) -> Iterator[Board]:
    from harness.board import Board
    from harness.home import BOARD_NAME, find_home

    with Board.open(path or find_home(Path.cwd()) / BOARD_NAME) as board:
        yield board


def _user_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


# --- the commands -----------------------------------------------------------------------------------


@click.group(cls=Door, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="matbogi", prog_name="matbogi")
def cli() -> None:
    """A Korean summarization contest in a box: check, score, record and rank.

    \b
    A first round, on the sample contest:
      python cli.py baseline lead --submit          what doing nothing scores
      python cli.py check preds.csv                 every fault of a file at once
      python cli.py submit preds.csv -m "r=8"       check, score and record
      python cli.py leaderboard                     the board

    A predictions file is a CSV with the columns id and summary, one row for each row of test.csv.
    Your own contest: python cli.py contest new NAME --from FILE
    """


@cli.command(short_help="Say everything that is wrong with a predictions file.")
@click.argument("file", type=click.Path(path_type=Path))
@contest_option
@format_option("table", "json")
def check(file: Path, contest_name: str | None, form: str) -> None:
    """Say everything that is wrong with a predictions FILE. Nothing is scored or recorded.

    Exits with 3 if the file would be refused. docs/submission-format.md explains every code.
    """
    from harness.screens import report_facts
    from harness.submission import check as check_file

    contest = _contest(contest_name)
    report = check_file(file, contest)
    if form == "json":
        result(json.dumps(report_facts(report), ensure_ascii=False, indent=2))
    else:
        _print_report(report, file)
    if not report.ok:
        raise click.exceptions.Exit(EXIT_INVALID)


def _print_report(report: Any, file: Path) -> None:
    from harness.screens import faults_table, report_lines
    from harness.text import safe

    console = _console()
    headline, *details = report_lines(report)
    console.print(headline, style="bold", soft_wrap=True)
    problems = [*report.problems, *report.notices]
    if problems:
        console.print(faults_table(problems, _titles(problems)))
    for line in details:
        console.print(line, soft_wrap=True)
    if report.ok:
        say(f'Next: {PROGRAM} submit {safe(str(file))} -m "what you changed"')


@cli.command(short_help="Check, score and record a predictions file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-m", "--message", default="", metavar="TEXT", help="What you changed; shown in the history.")
@team_option
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A hyperparameter, such as -p r=8.")
@click.option(
    "--params", "parameter_files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Hyperparameters from a JSON, TOML or YAML file.",
)  # fmt: skip
@contest_option
@board_option
@format_option("table", "json")
def submit(
    file: Path,
    message: str,
    team: str | None,
    parameters: tuple[str, ...],
    parameter_files: tuple[Path, ...],
    contest_name: str | None,
    board_path: str | None,
    form: str,
) -> None:
    """Check, score and record the predictions in FILE.

    The run card beside it (preds.run.json for preds.csv) is read too; -p and --params add the
    hyperparameters of work done elsewhere. The same file from the same team costs nothing twice.
    """
    from harness.run import parse_assignment

    values = dict(parse_assignment(text) for text in parameters)
    _hand_in(
        file, _contest(contest_name), board_path, team=team or _user_name(), message=message, kind="team",
        parameters=values, parameter_files=parameter_files, form=form,
    )  # fmt: skip


def _hand_in(
    file: Path,
    contest: Contest,
    board_path: str | None,
    *,
    team: str,
    message: str,
    kind: str,
    parameters: dict[str, JSON] | None = None,
    parameter_files: Sequence[Path] = (),
    form: str = "table",
) -> None:
    from datetime import UTC, datetime

    from harness.intake import submit as hand_in
    from harness.screens import receipt_facts, refusal, report_facts
    from harness.submission import CheckReport

    with _board(board_path) as board:
        try:
            receipt = hand_in(
                file, contest, board, team=team, message=message, kind=kind,  # type: ignore[arg-type]
                parameters=parameters, parameter_files=parameter_files,
            )  # fmt: skip
        except InvalidSubmission as fault:
            if form == "json":
                result(json.dumps(report_facts(CheckReport.of(fault)), ensure_ascii=False, indent=2))
            else:
                say(refusal(fault, board.quota(contest, team, now=datetime.now(UTC))), bold=True)
                _print_faults([*fault.problems, *fault.notices])
                say(fault.hint)
            raise click.exceptions.Exit(EXIT_INVALID) from None
    if form == "json":
        result(json.dumps(receipt_facts(receipt, contest), ensure_ascii=False, indent=2, default=str))
    else:
        _print_receipt(receipt, contest)


def _print_receipt(receipt: Any, contest: Contest) -> None:
    from harness.screens import receipt_headline, receipt_lines, scores

    if receipt.notices:
        _print_faults(receipt.notices)
    result(receipt_headline(receipt))
    _print_grid(scores(receipt.card, ["public"], ranked_by=contest.metric.rank_by, names={}), "table")
    for line in receipt_lines(receipt):
        result(line)
    say(f"Next: {PROGRAM} leaderboard")


@cli.command(short_help="Show the board.")
@click.option("--private", is_flag=True, help="The private board: for the organiser, after the end.")
@click.option("--all", "all_submissions", is_flag=True, help="Every submission, not only each team's best.")
@click.option(
    "--metric", type=click.Choice(["mean", "rouge1", "rouge2", "rougeL"]), help="Order by another figure."
)
@click.option("--where", multiple=True, metavar="NAME=VALUE", help="Only submissions made so, such as r=8.")
@click.option(
    "--columns", default="", metavar="NAME,…", help="Hyperparameters to show, such as r,learning_rate."
)
@click.option("--rank-baselines", is_flag=True, help="Rank the baselines among the teams.")
@contest_option
@board_option
@format_option("table", "markdown", "csv", "json")
def leaderboard(
    private: bool,
    all_submissions: bool,
    metric: str | None,
    where: tuple[str, ...],
    columns: str,
    rank_baselines: bool,
    contest_name: str | None,
    board_path: str | None,
    form: str,
) -> None:
    """Show the board: each team's best submission, its interval, and whether it differs from the first.

    \b
    "tied" in the column vs 1st: the difference from the first is not more than noise.
    """
    from harness import screens
    from harness.run import parse_assignment

    contest = _contest(contest_name)
    split: Any = "private" if private else "public"
    chosen: Any = metric or contest.metric.rank_by
    with _board(board_path) as board:
        signature = board.current_signature(contest)
        standings = board.standings(
            contest, signature, metric=chosen, split=split, all_submissions=all_submissions,
            where=dict(parse_assignment(text) for text in where), rank_baselines=rank_baselines,
        )  # fmt: skip
        otherwise = board.scored_otherwise(contest, signature) if signature else 0
    names = [name.strip() for name in columns.split(",") if name.strip()]
    grid = screens.leaderboard(
        contest, standings, split=split, metric=chosen, signature=signature or "", hyperparameters=names,
        otherwise=otherwise, bars=_can_draw_bars(),
    )  # fmt: skip
    _print_grid(grid, form)


@cli.command(short_help="Show the history of submissions.")
@click.option("--team", metavar="NAME", help="Only this team's.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@click.option("--private", is_flag=True, help="Private scores: for the organiser, after the end.")
@contest_option
@board_option
@format_option("table", "markdown", "csv", "json")
def submissions(
    team: str | None, limit: int, private: bool, contest_name: str | None, board_path: str | None, form: str
) -> None:
    """Show the newest submissions, refused files included."""
    from harness import screens

    contest = _contest(contest_name)
    split: Any = "private" if private else "public"
    with _board(board_path) as board:
        rows = board.submissions(contest, team=team, limit=limit, split=split)
    _print_grid(screens.submissions(rows, contest, split), form)


@cli.command(short_help="Show one submission: scores, settings, faults.")
@click.argument("submission_id", type=int, metavar="ID")
@click.option("--private", is_flag=True, help="Private scores too: for the organiser, after the end.")
@board_option
@format_option("table", "json")
def show(submission_id: int, private: bool, board_path: str | None, form: str) -> None:
    """Show the submission ID: its scores, its hyperparameters and how it was made."""
    from harness import screens

    with _board(board_path) as board:
        detail = board.get(submission_id)
    if form == "json":
        result(
            json.dumps(screens.detail_facts(detail, private=private), ensure_ascii=False, indent=2, default=str)
        )
        return
    for line in screens.detail_lines(detail):
        result(line)
    for grid in screens.detail_grids(detail, private=private):
        result("")
        _print_grid(grid, form)
    if detail.problems or detail.notices:
        found = [*detail.problems, *detail.notices]
        _console().print(screens.faults_table(found, _titles(found)))


@cli.command(short_help="Score a predictions file against any labelled file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--references", "references_file", required=True, type=click.Path(path_type=Path), metavar="REFS",
    help="A labelled CSV, JSONL, JSON or Parquet file with the same ids.",
)  # fmt: skip
@click.option("--preset", metavar="NAME", help="Tokens to score by: mecab, eojeol, syllable, kiwi, dacon, …")
@click.option(
    "--explain", "explained", multiple=True, metavar="ID",
    help="Show this row token by token, down to the figure. May be given more than once.",
)  # fmt: skip
@contest_option
@format_option("table", "markdown", "csv", "json")
def score(
    file: Path,
    references_file: Path,
    preset: str | None,
    explained: tuple[str, ...],
    contest_name: str | None,
    form: str,
) -> None:
    """Score the predictions in FILE against the labels in REFS, as the contest would. Records nothing.

    With a dev split of train.csv this is the board's own figure at home.
    """
    from dataclasses import replace

    from harness.references import read_references, refuse_hidden
    from harness.submission import Predictions

    contest = _contest(contest_name)
    metric = replace(contest.metric, preset=preset) if preset else contest.metric
    if explained:
        refuse_hidden(references_file)
    answers = read_references(references_file, contest.columns)
    predictions = Predictions.read(file, [answer.id for answer in answers], contest.columns)
    if predictions.notices:
        _print_faults(predictions.notices)
    if explained:
        _print_explanations(predictions.summaries, answers, metric, explained, form)
    else:
        _print_scores(predictions.summaries, answers, metric, form)


def _print_scores(summaries: Mapping[str, str], answers: Sequence[Answer], metric: Metric, form: str) -> None:
    from harness import screens
    from harness.explanation import pitfalls
    from harness.scoring import score_summaries

    pairs = sum(len(answer.references) for answer in answers)
    with _progress("Scoring") as progress:
        card = score_summaries(summaries, answers, metric, progress=lambda done: progress(done, pairs))
    names = {} if len(card.splits) > 1 else {card.splits[0]: "all"}
    _print_grid(screens.scores(card, card.splits, ranked_by=metric.rank_by, names=names), form)
    for sentence in pitfalls(summaries, answers, metric, card):
        say(f"Note: {sentence}")


def _print_explanations(
    summaries: Mapping[str, str], answers: Sequence[Answer], metric: Metric, ids: Sequence[str], form: str
) -> None:
    from dataclasses import asdict

    from harness import screens
    from harness.explanation import explain

    by_id = {answer.id: answer for answer in answers}
    unknown = [id for id in ids if id not in by_id]
    if unknown:
        raise UsageError(f"The references hold no row {unknown[0]!r}.")
    found = {id: explain(summaries[id], by_id[id].references, metric.preset) for id in ids}
    if form == "json":
        facts = {id: [asdict(item) | {"mean": item.mean} for item in items] for id, items in found.items()}
        result(json.dumps(facts, ensure_ascii=False, indent=2))
        return
    for id, items in found.items():
        for item in items:
            _print_grid(screens.explanation(id, item, len(items), metric.preset), form)


@cli.command(short_help="Score all recorded submissions as the contest is scored now.")
@contest_option
@board_option
@format_option("table", "json")
def rescore(contest_name: str | None, board_path: str | None, form: str) -> None:
    """Score every recorded submission again, as the contest is scored now.

    For the organiser, after the metric, the answers or the analyser has changed. New figures stand
    beside the old ones, under a signature of their own; the board shows the newest signature only.
    """
    from dataclasses import asdict
    from datetime import UTC, datetime

    from harness import screens
    from harness.rescoring import rescore as score_again

    contest = _contest(contest_name)
    with _board(board_path) as board, _progress("Scoring") as progress:
        found = score_again(contest, board, now=datetime.now(UTC), progress=progress)
    if form == "json":
        result(json.dumps(asdict(found), ensure_ascii=False, indent=2))
        return
    for line in screens.rescored_lines(found):
        result(line)
    say(f"Next: {PROGRAM} leaderboard")


# --- contest ----------------------------------------------------------------------------------------


@cli.group(short_help="Make a contest from your own data, examine one.")
def contest() -> None:
    """Make a contest from your own data, examine one."""


@contest.command(name="new", short_help="Make a contest folder from a labelled file.")
@click.argument("name")
@click.option(
    "--from", "source", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="A labelled CSV, JSONL, JSON (AI Hub's too) or Parquet file, or a folder of JSON files.",
)  # fmt: skip
@click.option(
    "--into", type=click.Path(path_type=Path), metavar="FOLDER", help="Where; contests/ unless told otherwise."
)
@click.option("--id-column", metavar="NAME", help="The column of ids, if it is not found by its name.")
@click.option("--text-column", metavar="NAME", help="The column of documents.")
@click.option(
    "--summary-column",
    "summary_columns",
    multiple=True,
    metavar="NAME",
    help="A column of summaries; repeat it for further references.",
)
@click.option(
    "--test-size",
    type=float,
    metavar="N",
    help="Test rows, or a share below 1; 500 and at most a fifth unless told otherwise.",
)
@click.option(
    "--public-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of the test rows on the public board.",
)
@click.option(
    "--seed", type=int, metavar="N", help="Draws the same contest again; drawn itself unless told otherwise."
)
@click.option("--keep-ids", is_flag=True, help="Keep the ids of the source.")
@click.option("--title", default="", metavar="TEXT", help="What the board is headed by.")
@click.option("--preset", metavar="NAME", help="Tokens to score by: mecab, eojeol, syllable, kiwi, dacon, ...")
@click.option("--daily-limit", type=click.IntRange(1), metavar="N", help="Submissions a team and day.")
def contest_new(
    name: str,
    source: Path,
    into: Path | None,
    preset: str | None,
    daily_limit: int | None,
    test_size: float | None,
    **options: Any,
) -> None:
    """Make the contest NAME from labelled data: split by seed, new ids, answers apart.

    \b
    python cli.py contest new ours --from articles.jsonl --title "Our contest" --daily-limit 5
    """
    from harness import screens
    from harness.contest import Metric, Rules
    from harness.home import find_home
    from harness.prepare import new_contest

    prepared = new_contest(
        name,
        source,
        into=into or find_home(Path.cwd()) / "contests",
        test_size=int(test_size) if test_size is not None and test_size >= 1 else test_size,
        metric=Metric(preset=preset) if preset else None,
        rules=Rules(daily_limit=daily_limit),
        **options,
    )
    if prepared.notices:
        _print_faults(prepared.notices)
    for line in screens.prepared_lines(prepared):
        result(line)
    say(f"Next: {PROGRAM} baseline lead --submit --contest {into / name if into else name}")


@contest.command(name="check", short_help="Say everything that is wrong with a contest folder.")
@click.argument("folder", required=False, metavar="[NAME|FOLDER]")
@contest_option
@format_option("table", "json")
def contest_check(folder: str | None, contest_name: str | None, form: str) -> None:
    """Say everything that is wrong with a contest folder, and what mends it. Exits with 2 if it is unusable."""
    from harness import screens
    from harness.errors import ContestError
    from harness.home import find_contest, find_home
    from harness.inspection import inspect_contest

    root = (
        Path(folder)
        if folder and Path(folder).is_dir()
        else find_contest(find_home(Path.cwd()), folder or contest_name)
    )
    problems = inspect_contest(root)
    if form == "json":
        result(
            json.dumps([screens.problem_facts(problem) for problem in problems], ensure_ascii=False, indent=2)
        )
    else:
        result(screens.inspection_line(root, problems))
        if problems:
            _console().print(screens.faults_table(problems, _titles(problems)))
    if any(screens.is_fault(problem) for problem in problems):
        raise click.exceptions.Exit(ContestError.exit_code)


@contest.command(name="info", short_help="Show a contest's counts, lengths and rules.")
@click.argument("folder", required=False, metavar="[NAME|FOLDER]")
@contest_option
@format_option("table", "json")
def contest_info(folder: str | None, contest_name: str | None, form: str) -> None:
    """Show how many rows a contest has, how long its texts are, and its rules."""
    from dataclasses import asdict

    from harness import screens
    from harness.inspection import describe_contest

    description = describe_contest(_contest(folder or contest_name))
    if form == "json":
        result(json.dumps(asdict(description), ensure_ascii=False, indent=2, default=str))
        return
    for part in screens.contest_parts(description):
        if isinstance(part, str):
            result(part)
        else:
            _print_grid(part, form)


# --- baseline ---------------------------------------------------------------------------------------


class BaselineGroup(click.Group):
    """One subcommand for each baseline; its options are the fields of its ``Config``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all baselines."""
        from baselines import BASELINES

        return list(BASELINES)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table of baselines, without importing any of them."""
        from baselines import BASELINES

        with formatter.section("Baselines"):
            formatter.write_dl([(name, description) for name, (_, description) in BASELINES.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The subcommand of one baseline, made from its ``Config``."""
        return _baseline_command(cmd_name)


@cli.group(cls=BaselineGroup, short_help="Run a baseline, and hand it in.")
def baseline() -> None:
    """Run a baseline on a contest, and hand its predictions in with --submit."""


def _baseline_command(name: str) -> click.Command:
    """The command of one baseline: its own settings first, then where to read and write."""
    from baselines import load_baseline

    module = load_baseline(name)
    run_options: list[click.Parameter] = [
        click.Option(["--recipe"], type=click.Path(path_type=Path), metavar="FILE",
                     help="Settings from a TOML file."),
        click.Option(["-o", "--output"], type=click.Path(path_type=Path), metavar="FILE",
                     help="Where to write the predictions; runs/TIME-NAME/preds.csv unless told otherwise."),
        click.Option(["--submit", "hand_in"], is_flag=True, help="Hand the predictions in."),
        click.Option(["-m", "--message"], default="", metavar="TEXT",
                     help="With --submit: shown in the history."),
        click.Option(["--team"], metavar="NAME", help="With --submit: hand in as a team, not as a baseline."),
        click.Option(["--contest", "contest_name"], envvar="MATBOGI_CONTEST", metavar="NAME|FOLDER",
                     help="The contest. [env: MATBOGI_CONTEST]"),
        click.Option(["--board", "board_path"], envvar="MATBOGI_BOARD", metavar="FILE|URL",
                     help="The board. [env: MATBOGI_BOARD]"),
    ]  # fmt: skip
    if hasattr(module, "preview"):
        run_options.insert(0, click.Option(
            ["--dry-run"], type=click.IntRange(1), is_flag=False, flag_value=2, metavar="[N]",
            help="Show the first N prompts (2), their tokens and the cost, and send nothing."))  # fmt: skip
    if hasattr(module, "announce"):
        run_options.insert(1, click.Option(["--yes"], is_flag=True, help="Do not ask before paying."))
    if hasattr(module, "sweep"):
        run_options.append(click.Option(
            ["--format", "form"], type=click.Choice(["table", "markdown", "csv", "json"]),
            help="With --grid: how to print.  [default: table]"))  # fmt: skip
    return BaselineCommand(
        name,
        callback=lambda **options: _run_baseline(name, **options),
        params=[*_setting_options(module.Config), *run_options],
        help=module.__doc__,
    )


class WordsOption(click.Option):
    """An option whose value is several NAME=VALUES, typed one after another without quotation marks."""


class BaselineCommand(click.Command):
    """A command whose ``WordsOption``s take the NAME=VALUES that follow them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Fold the words of each such option into one value, then parse as usual."""
        flags = {flag for option in self.params if isinstance(option, WordsOption) for flag in option.opts}
        return super().parse_args(ctx, _fold_words(args, flags))


def _fold_words(arguments: Sequence[str], flags: Collection[str]) -> list[str]:
    """``--grid a=1,2 b=3 --grid c=4 …`` as ``--grid "a=1,2 b=3 c=4" …`` for each of ``flags``."""
    rest, others, folded = list(arguments), list[str](), dict[str, list[str]]()
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if word == "--":
            others += [word, *rest]
            break
        if flag not in flags or not (equals or rest):
            others.append(word)
            continue
        words = folded.setdefault(flag, [])
        words.append(value if equals else rest.pop(0))
        while rest and re.match(r"[A-Za-z][\w-]*=", rest[0]):
            words.append(rest.pop(0))
    return [*(part for flag, words in folded.items() for part in (flag, " ".join(words))), *others]


def _setting_options(config: Any) -> list[click.Parameter]:
    """One option for each field of a ``Config``, by its type and help."""
    from dataclasses import fields
    from typing import get_type_hints

    hints = get_type_hints(config)
    options: list[click.Parameter] = []
    for item in fields(config):
        flag = item.name.replace("_", "-")
        is_switch, words = hints[item.name] is bool, item.metadata.get("words", False)
        kind = WordsOption if words else click.Option
        options.append(
            kind(
                [f"--{flag}/--no-{flag}" if is_switch else f"--{flag}", item.name],
                type=None if is_switch else hints[item.name],
                default=None,
                metavar="NAME=VALUES…" if words else None,
                help=item.metadata["help"] + (f"  [default: {item.default}]" if item.default != "" else ""),
            )
        )
    return options


def _run_baseline(
    name: str,
    *,
    recipe: Path | None,
    output: Path | None,
    hand_in: bool,
    message: str,
    team: str | None,
    contest_name: str | None,
    board_path: str | None,
    dry_run: int | None = None,
    yes: bool = False,
    form: str | None = None,
    **options: Any,
) -> None:
    from baselines import load_baseline
    from baselines.running import Recipe, make_config, read_recipe, refuse_from_recipe, run_baseline
    from harness.command_line import command_line
    from harness.text import safe

    plan = read_recipe(recipe) if recipe else Recipe(name, {}, "")
    if plan.baseline != name:
        raise UsageError(f"{recipe} is a recipe for {plan.baseline!r}, not for {name!r}.")
    refuse_from_recipe(load_baseline(name), plan, str(recipe))
    settings = plan.settings | {key: value for key, value in options.items() if value is not None}
    config = make_config(load_baseline(name), settings, str(recipe))
    sweeping = bool(getattr(config, "grid", ""))
    _check_grid_options(sweeping, hand_in, form)
    chosen = _contest(contest_name)
    if dry_run:
        _show_preview(load_baseline(name), config, chosen, dry_run)
        return
    output = output or _default_output(name, config)
    module = load_baseline(name)
    if hasattr(module, "announce"):
        _announce(module, config, chosen, yes=yes)
    with _going_on_later(name), _progress(name) as progress:
        if sweeping:
            from baselines.sweep import run_sweep

            sweep = run_sweep(name, config, chosen, output.parent, progress)
        else:
            run = run_baseline(name, config, chosen, output, progress)
    if sweeping:
        _print_sweep(name, sweep, output.parent, form or "table", grid_of_recipe="grid" in plan.settings)
        return
    for line in _messages(run):
        say(f"Note: {safe(line)}")
    say(f"{len(chosen.test)} summaries written to {safe(str(output))}")
    if hasattr(module, "closing_lines"):
        for line in module.closing_lines(run.notes, bars=_can_draw_bars()):
            say(line)
    if hand_in:
        on_board = module.board_name(run.notes) if hasattr(module, "board_name") else name
        _hand_in(
            output, chosen, board_path, team=team or on_board, message=message or plan.message,
            kind="team" if team else "baseline",
        )  # fmt: skip
    else:
        where = ["--contest", contest_name] if contest_name else []
        say(f"Next: {PROGRAM} submit {command_line([str(output), *where])}")


def _messages(run: Run) -> list[str]:
    """What a baseline wants to be told to whoever ran it: documents that were cut, say."""
    messages = run.notes.get("messages")
    return [str(line) for line in messages] if isinstance(messages, list) else []


def _check_grid_options(sweeping: bool, hand_in: bool, form: str | None) -> None:
    if sweeping and hand_in:
        raise UsageError(
            "A sweep (--grid) runs on dev, not on the board, so there is nothing to submit.",
            hint="Leave --submit out: the sweep ends with the command that hands in what it found.",
        )
    if form and not sweeping:
        raise UsageError("--format is for a sweep: give it together with --grid.")


def _default_output(name: str, config: Any) -> Path:
    """A new folder in runs/; the old one for a run that is resumed."""
    from datetime import datetime

    from baselines.running import default_output
    from harness.home import find_home

    resumed = getattr(config, "resume", "")
    return (
        Path(resumed) / "preds.csv" if resumed else default_output(find_home(Path.cwd()), name, datetime.now())
    )


@contextmanager
def _going_on_later(name: str) -> Iterator[None]:
    """After Ctrl-C: say what is saved, and the command that goes on."""
    from harness.text import safe

    try:
        yield
    except Interrupted as stop:
        say(safe(stop.message), bold=True)
        say(f"Next: {_typed_again(name, stop.settings)}")
        raise click.exceptions.Exit(stop.exit_code) from None


def _typed_again(name: str, changes: Mapping[str, Any]) -> str:
    """The command that is running, with some options changed; ``None`` leaves one out."""
    from harness.command_line import command_line

    context = click.get_current_context()
    typed = {
        key: value
        for key, value in context.params.items()
        if context.get_parameter_source(key) is ParameterSource.COMMANDLINE
    }
    values = typed | dict(changes)
    words = [word for option in context.command.params for word in _words(option, values.get(str(option.name)))]
    return f"{PROGRAM} {command_line(['baseline', name, *words])}"


def _words(option: click.Parameter, value: Any) -> list[str]:
    """``option`` with ``value`` as it is typed; nothing for ``None``."""
    if value is None:
        return []
    if isinstance(value, bool):
        return (option.opts if value else option.secondary_opts)[-1:]
    if isinstance(option, WordsOption) and "'" not in value and '"' not in value and value:
        return [option.opts[-1], *value.split()]
    return [option.opts[-1], str(value)]


def _print_sweep(name: str, sweep: Sweep, folder: Path, form: str, *, grid_of_recipe: bool) -> None:
    """The table, the verdict, where it is kept, and the command that hands in what was found."""
    from harness.text import safe

    _print_grid(sweep.grid, form)
    write = result if form in ("table", "markdown") else say
    write("")
    for sentence in sweep.verdict.sentences:
        write(safe(sentence))
    say(f"Kept in {safe(str(folder / 'sweep.json'))}")
    # An empty --grid, for one that stands in the recipe would be tried again.
    changes = {"grid": "" if grid_of_recipe else None, "form": None, "hand_in": True}
    say(f"Next: {_typed_again(name, {**changes, **sweep.next_settings})}")


def _announce(module: Any, config: Any, contest: Contest, *, yes: bool) -> None:
    """Say what a run is going to send; ask, where it may cost money and somebody is there to answer."""
    found = module.announce(config, _job_unseen(contest))
    for line in found.lines:
        say(line)
    if found.asks and not yes and sys.stdin.isatty():
        click.confirm("Go on?", abort=True, err=True)


def _show_preview(module: Any, config: Any, contest: Contest, shown: int) -> None:
    for line in module.preview_lines(module.preview(config, _job_unseen(contest)), shown):
        result(line)


def _job_unseen(contest: Contest) -> Job:
    """A job that nobody watches."""
    from baselines import Job

    return Job(
        contest.train, contest.test, contest.metric.preset, Path.cwd(), lambda done, total, note="", /: None
    )


@contextmanager
def _progress(title: str) -> Iterator[Progress]:
    """Show how far a long run is, on standard error: a live block on a terminal, else a line now and then."""
    from rich.live import Live

    from harness.pace import Stages

    console, stages = _console(stderr=True), Stages()
    on_terminal = console.is_terminal and not console.is_dumb_terminal
    told = [time.monotonic()]

    def show(done: int, total: int, note: str = "", /) -> None:
        now = time.monotonic()
        stages.report(done, total, note, now)
        if not on_terminal and now - told[0] > SECONDS_BETWEEN_LINES:
            told[0] = now
            say(_progress_line(title, stages, now))

    if not on_terminal:
        yield show
        return
    with Live(ProgressBlock(title, stages), console=console, transient=True, refresh_per_second=5):
        yield show


def _progress_line(title: str, stages: Stages, now: float) -> str:
    """How far a run is, in a line: ``lora training 412/2,400, 3:24 left  loss 1.234  lr 3.0e-03``."""
    from harness.pace import clock

    pace, left = stages.pace, stages.seconds_left(now)
    counts = f"{pace.done:,}/{pace.total:,}" if pace else ""
    words = " ".join(word for word in (title, stages.stage, counts) if word)
    return "  ".join([words + (f", {clock(left)} left" if left is not None else ""), *_figures(stages.note)])


def _figures(note: str) -> list[str]:
    """The figures of a note, which two spaces part, each made safe to print."""
    from harness.text import safe

    return [text for text in map(safe, re.split(r"\s{2,}", note)) if text]


class ProgressBlock:
    """What a long run shows of itself on a terminal: title, stage, bar, counts, time left, and its note.

    ::

        lora training ━━━━━━━━━━━━━━━╸━━━━━━━━━━━━━━━━━━━ 412/2,400  ETA 3:24
        loss 1.234  lr 3.0e-03  4,512 tokens/s  dev .2408 at 400, best

    Where both fit, the note stands on the first line. A stage that has once needed two keeps them: a
    block that jumps cannot be read.
    """

    def __init__(self, title: str, stages: Stages) -> None:
        self.title, self.stages = title, stages
        self.tall: set[str] = set()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it in at most ``options.max_width`` cells."""
        from rich.cells import cell_len
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        from harness.pace import clock

        width, stages, pace = options.max_width, self.stages, self.stages.pace
        head = f"{self.title} {stages.stage}".strip()
        left = clock(stages.seconds_left(time.monotonic()))
        tail = f"{pace.done:,}/{pace.total:,}  ETA {left}" if pace else ""
        note = "  ".join(_figures(stages.note))
        room = width - cell_len(head) - cell_len(tail) - 2
        beside = room - cell_len(note) - 2
        if note and beside < NARROWEST_BAR:
            self.tall.add(stages.stage)
        two_lines = stages.stage in self.tall
        cells: list[Any] = [Text(head, style="bold"), Text(tail)]
        bar = min(WIDEST_BAR, room if two_lines or not note else beside)
        if bar >= NARROWEST_BAR:
            total = max(1, pace.total) if pace else None
            cells.insert(1, ProgressBar(total, pace.done if pace else 0, width=bar, pulse=pace is None))
        if note and not two_lines:
            cells.append(Text(f" {note}"))
        line = Table.grid(padding=(0, 1, 0, 0))
        for _ in cells:
            line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_row(*cells)
        yield line
        if two_lines:
            yield Text(note or " ", no_wrap=True, overflow="ellipsis")


# --- cache ------------------------------------------------------------------------------------------

answers_option = click.option(
    "--answers-file", type=click.Path(path_type=Path), metavar="FILE",
    help="The file of kept answers; answers.sqlite3 beside contests/ unless told otherwise.",
)  # fmt: skip


@cli.group(short_help="The chat models' answers that are kept.")
def cache() -> None:
    """The chat models' answers that are kept, so that no run pays for them twice."""


@cache.command(name="info", short_help="Show how many answers are kept.")
@answers_option
@format_option("table", "markdown", "csv", "json")
def cache_info(answers_file: Path | None, form: str) -> None:
    """Show how many answers are kept, by model, with their tokens."""
    from baselines.answers import count_answers
    from baselines.prompt import answers_path
    from harness.tables import Column, Grid
    from harness.text import safe

    path = answers_path(str(answers_file or ""))
    counts = count_answers(path)
    numbers = ("answers", "prompt_tokens", "completion_tokens")
    columns = [
        Column("model", "model"),
        *(Column(name, name.replace("_", " "), "right", write="{:,}".format) for name in numbers),
    ]
    _print_grid(Grid(columns, [count._asdict() for count in counts], empty="No answers are kept."), form)
    say(f"{sum(count.answers for count in counts)} answers in {safe(str(path))}")


@cache.command(name="clear", short_help="Forget all kept answers.")
@answers_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def cache_clear(answers_file: Path | None, yes: bool) -> None:
    """Forget all kept answers. Having them again costs what they cost."""
    from baselines.answers import Answers, count_answers
    from baselines.prompt import answers_path
    from harness.text import safe

    path = answers_path(str(answers_file or ""))
    count = sum(model.answers for model in count_answers(path))
    if count and not yes:
        click.confirm(f"Forget {count} answers in {safe(str(path))}?", abort=True, err=True)
    if count:
        with Answers(path) as answers:
            count = answers.clear()
    say(f"{count} answers forgotten.")


def _use_utf8() -> None:
    """Write UTF-8 whatever the console's code page, unless PYTHONIOENCODING asks for another encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = None if os.environ.get("PYTHONIOENCODING") else "utf-8"
            stream.reconfigure(encoding=encoding, errors="replace")


def main() -> None:
    """The console script."""
    _use_utf8()
    cli(prog_name=PROGRAM)


if __name__ == "__main__":
    main()
