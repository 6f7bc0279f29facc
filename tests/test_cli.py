"""The command line as people use it: a process, its output, its exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest
from conftest import write_predictions

import cli
from harness.contest import Contest

ROOT = Path(__file__).parents[1]


def matbogi(home: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python cli.py …`` in ``home``."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MATBOGI", "COLUMNS"))
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)],
        cwd=home, env={**inherited, **environment}, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip


@pytest.fixture
def perfect(home: Path, answers: dict[str, str]) -> Path:
    """A file of perfect predictions."""
    return write_predictions(home / "preds.csv", answers)


@pytest.fixture
def board_home(home: Path, answers: dict[str, str]) -> Path:
    """A home whose board has two teams with hyperparameters, and a baseline."""
    write_predictions(home / "a.csv", answers)
    write_predictions(home / "b.csv", {name: text[:6] for name, text in answers.items()})
    for file, team, r in (("a.csv", "요약왕", 8), ("b.csv", unicodedata.normalize("NFD", "에이블 3조"), 4)):
        done = matbogi(home, "submit", file, "--team", team, "-p", f"r={r}", "-p", 'lora={"alpha": 32}')
        assert done.returncode == 0, done.stderr
    assert matbogi(home, "baseline", "lead", "--submit").returncode == 0
    return home


# --- help ---


def commands(group: click.Group, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command there is, by its words."""
    found: list[tuple[str, ...]] = [prefix]
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = isinstance(command, click.Group)
        found += commands(command, (*prefix, name)) if inner else [(*prefix, name)]  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("words", commands(cli.cli), ids=" ".join)
def test_every_command_has_help_with_a_line_for_every_option(words: tuple[str, ...]) -> None:
    """--help works everywhere, and no option is without words."""
    command: click.Command = cli.cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    assert command.help
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name
    assert "Usage" in command.get_help(click.Context(command))


def test_help_shows_the_first_round_within_80_columns(tmp_path: Path) -> None:
    """A newcomer sees what to type, and no line wraps."""
    done = matbogi(tmp_path, "--help", COLUMNS="80")
    assert done.returncode == 0
    for word in ("check", "submit", "leaderboard", "baseline", "contest new"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], {"rich", "sqlalchemy", "numpy", "pandas", "alembic", "harness.contest", "mecab_ko"}),
        (["leaderboard"], {"numpy", "pandas", "alembic", "mecab_ko", "detect_secrets"}),
        (["check", "a.csv"], {"sqlalchemy", "numpy", "pandas", "mecab_ko"}),
        (["baseline", "prompt", "--help"], {"openai", "httpx2", "torch", "transformers", "bm25s", "numpy"}),
        (["cache", "info"], {"openai", "httpx2", "torch", "transformers", "bm25s", "sqlalchemy"}),
    ],
)
def test_a_command_imports_only_what_it_uses(
    board_home: Path, arguments: list[str], unwanted: set[str]
) -> None:
    """The slow packages stay out of the commands that do not need them."""
    matbogi(board_home, "leaderboard")  # comparisons are made once
    script = (
        "import atexit, runpy, sys\n"
        f"sys.argv = ['cli.py', *{arguments!r}]\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"atexit.register(lambda: print('LOADED', *({unwanted!r} & set(sys.modules))))\n"
        f"runpy.run_path({str(ROOT / 'cli.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=board_home, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_without_its_packages_it_says_how_to_install_them(tmp_path: Path) -> None:
    """No ImportError, but the line to type."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(ROOT / "cli.py"), "--help"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


# --- exit codes ---


def test_exit_codes_tell_what_happened(home: Path, perfect: Path, answers: dict[str, str]) -> None:
    """0 done, 2 usage, 3 invalid, 4 refused; none of them with a traceback."""
    (home / "bad.csv").write_text("id,summary\nx,y\n", encoding="utf-8")
    toml = home / "contests" / "ours" / "contest.toml"
    cases: list[tuple[int, list[object]]] = [
        (0, ["check", perfect]),
        (3, ["check", "bad.csv"]),
        (3, ["check", "nowhere.csv"]),
        (3, ["submit", "bad.csv", "--team", "가"]),
        (2, ["submit", perfect, "--team", "\u200b"]),
        (2, ["submit", perfect, "-p", "r8"]),
        (2, ["submit", perfect, "--params", "nowhere.json"]),
        (2, ["submit"]),
        (2, ["leaderboard", "--contest", "theirs"]),
        (2, ["show", "99"]),
        (2, ["submissions", "--team", "nobody"]),
        (2, ["baseline", "leed"]),
        (2, ["contest", "new", "../up", "--from", "preds.csv"]),
        (2, ["score", perfect, "--references", "nowhere.csv"]),
        (2, ["score", perfect, "--references", "preds.csv", "--preset", "meccab"]),
        (4, ["submit", perfect, "--team", "가", "-p", "password=hunter2hunter"]),
        (0, ["submit", perfect, "--team", "가"]),
        (0, ["submit", perfect, "--team", "가"]),
    ]
    for code, arguments in cases:
        done = matbogi(home, *arguments)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, arguments
        assert code == 0 or done.stderr or done.stdout
    settings = toml.read_text(encoding="utf-8")
    assert "\ndaily_limit = false" in settings
    toml.write_text(settings.replace("\ndaily_limit = false", "\ndaily_limit = 1"), encoding="utf-8")
    other = write_predictions(home / "other.csv", dict.fromkeys(answers, "다른 요약"))
    assert matbogi(home, "submit", other, "--team", "가").returncode == 4


def test_a_bug_keeps_its_traceback(home: Path) -> None:
    """Something nobody expected exits with 1 and can be reported."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['cli.py', 'leaderboard']\n"
        "import cli, harness.board\n"
        "def broken(*_, **__): raise RuntimeError('a bug')\n"
        "harness.board.Board.standings = broken\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "a bug" in done.stderr


def test_a_command_interrupted_by_a_closed_pipe_is_quiet(board_home: Path) -> None:
    """``leaderboard | head -1`` prints no traceback."""
    done = subprocess.run(  # noqa: S602 - the pipe is the point
        f'"{sys.executable}" "{ROOT / "cli.py"}" leaderboard | head -n 1',
        shell=True, cwd=board_home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


# --- submit ---


def test_a_refused_file_is_told_with_place_and_remedy(home: Path, answers: dict[str, str]) -> None:
    """What is wrong, in which row, line and id, what to do, and that nothing was scored."""
    names = list(answers)
    lines = ["id,summary", f"{names[0]},하나", f"{names[0]},둘"] + [f"{name},셋" for name in names[1:-1]]
    (home / "bad.csv").write_text("\n".join(lines), encoding="utf-8")
    done = matbogi(home, "submit", "bad.csv", "--team", "가")
    assert done.returncode == 3
    assert "Not submitted" in done.stderr
    assert "nothing was scored" in done.stderr
    assert names[0] in done.stderr
    assert names[-1] in done.stderr
    assert done.stdout == ""


def test_a_receipt_in_json_holds_no_hidden_figure(home: Path, perfect: Path) -> None:
    """Public scores to four decimals, the signature, the quota."""
    done = matbogi(home, "submit", perfect, "--team", "가", "--format", "json")
    receipt = json.loads(done.stdout)
    assert receipt["rank"] == 1
    assert {item["split"] for item in receipt["scores"]} == {"public"}
    assert receipt["signature"].startswith("rouge:1|")
    assert "private" not in done.stdout


def test_a_refusal_in_json_lists_every_fault(home: Path) -> None:
    """For scripts: all of them, with codes and places, on standard output."""
    (home / "bad.csv").write_text("id,summary\nx,y\n", encoding="utf-8")
    for command in ("submit", "check"):
        done = matbogi(home, command, "bad.csv", "--format", "json")
        assert done.returncode == 3
        report = json.loads(done.stdout)
        assert not report["ok"]
        assert all(problem["code"].startswith("E") for problem in report["problems"])


def test_the_team_comes_from_the_option_the_environment_or_the_user(
    home: Path, answers: dict[str, str]
) -> None:
    """In that order."""
    for number, (options, environment, expected) in enumerate(
        [
            (["--team", "옵션"], {"MATBOGI_TEAM": "환경"}, "옵션"),
            ([], {"MATBOGI_TEAM": "환경"}, "환경"),
            ([], {"LOGNAME": "사용자", "USER": "사용자", "USERNAME": "사용자"}, "사용자"),
        ]
    ):
        file = write_predictions(
            home / f"{number}.csv", {name: f"{text} {number}" for name, text in answers.items()}
        )
        done = matbogi(home, "submit", file, *options, "--format", "json", **environment)
        assert json.loads(done.stdout)["team"] == expected


# --- the board ---


def test_the_board_in_four_formats(board_home: Path) -> None:
    """Table, Markdown, CSV and JSON show the same standings."""
    table = matbogi(board_home, "leaderboard")
    assert table.returncode == 0
    assert "요약왕" in table.stdout
    assert "에이블 3조" in table.stdout
    assert "baseline" in table.stdout
    document = json.loads(matbogi(board_home, "leaderboard", "--format", "json").stdout)
    assert [(item["rank"], item["team"]) for item in document["standings"]][:1] == [(1, "요약왕")]
    assert {item["kind"] for item in document["standings"]} == {"team", "baseline"}
    assert document["standings"][0]["hyperparameters"] == {"r": 8, "lora": {"alpha": 32}}
    rows = list(csv.DictReader(io.StringIO(matbogi(board_home, "leaderboard", "--format", "csv").stdout)))
    assert [row["team"] for row in rows] == [
        unicodedata.normalize("NFC", item["team"]) for item in document["standings"]
    ]
    markdown = matbogi(board_home, "leaderboard", "--format", "markdown").stdout
    assert "| 1 | 요약왕 |" in markdown


def test_hyperparameters_become_columns_and_conditions(board_home: Path) -> None:
    """--columns shows them, dotted names too; --where filters by them."""
    wide = matbogi(board_home, "leaderboard", "--columns", "r,lora.alpha", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(wide)))
    assert {(row["hyperparameters.r"], row["hyperparameters.lora.alpha"]) for row in rows} >= {
        ("8", "32"),
        ("4", "32"),
    }
    document = json.loads(matbogi(board_home, "leaderboard", "--where", "r=4", "--format", "json").stdout)
    assert [item["team"] for item in document["standings"]] == ["에이블 3조"]


def test_the_private_board_is_asked_for(board_home: Path) -> None:
    """Nothing else shows private figures; show and submissions have the same switch."""
    document = json.loads(matbogi(board_home, "leaderboard", "--private", "--format", "json").stdout)
    assert document["split"] == "private"
    assert "private" not in matbogi(board_home, "show", 1).stdout
    assert "private" in matbogi(board_home, "show", 1, "--private").stdout
    assert "private" in matbogi(board_home, "submissions", "--private").stdout


def test_another_metric_orders_the_board(board_home: Path) -> None:
    """--metric rougeL puts ROUGE-L first."""
    document = json.loads(matbogi(board_home, "leaderboard", "--metric", "rougeL", "--format", "json").stdout)
    assert document["metric"] == "rougeL"
    scores = [item["rougeL"] for item in document["standings"]]
    assert scores == sorted(scores, reverse=True)


def test_show_and_submissions_tell_the_story(board_home: Path) -> None:
    """Scores, settings and file of one; all of them, newest first."""
    shown = matbogi(board_home, "show", 2).stdout
    assert "에이블 3조" in shown
    assert "lora.alpha" in shown
    assert "32" in shown
    listed = json.loads(matbogi(board_home, "submissions", "--format", "json").stdout)
    assert [row["submission_id"] for row in listed["submissions"]] == [3, 2, 1]


def test_an_empty_board_says_what_to_do(home: Path) -> None:
    """The first command of a newcomer does not fail."""
    done = matbogi(home, "leaderboard")
    assert done.returncode == 0
    assert "Nobody has submitted yet" in done.stdout


HOSTILE = (
    "[/]",
    "[bold red]x",
    "\x1b[31mred\x1b[0m",
    "\x1b]52;c;aGk=\x07",
    "a\u202eb",
    "=cmd|' /C calc'!A0",
    "%s%n",
    "<b>",
)


def test_no_name_or_message_can_steer_the_terminal(home: Path, answers: dict[str, str]) -> None:
    """Every command that shows them prints no escape, bidi or control character."""
    for number, name in enumerate(HOSTILE):
        file = write_predictions(
            home / f"{number}.csv", {key: f"{text} {number}" for key, text in answers.items()}
        )
        done = matbogi(
            home, "submit", file, "--team", name, "-m", name, "-p", f"{name.replace('=', '')}={name}"
        )
        assert done.returncode == 0, done.stderr
    looks: list[list[str]] = [
        ["leaderboard"],
        ["leaderboard", "--format", "csv"],
        ["leaderboard", "--format", "markdown"],
        ["submissions"],
        *(["show", str(number)] for number in range(1, len(HOSTILE) + 1)),
    ]
    for done in (matbogi(home, *look) for look in looks):
        assert done.returncode == 0, done.stderr
        assert not set(done.stdout + done.stderr) & set("\x1b\x07\u202e\r")


@pytest.mark.parametrize(
    "environment",
    [
        {"NO_COLOR": "1"},
        {"PYTHONIOENCODING": "cp949"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TERM": "dumb"},
        {"COLUMNS": "20"},
        {"COLUMNS": "300"},
    ],
    ids=str,
)
def test_the_board_is_shown_on_every_kind_of_output(board_home: Path, environment: dict[str, str]) -> None:
    """No encoding, locale or width makes a command fail."""
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    for command in (["leaderboard"], ["show", "1"], ["submissions"], ["contest", "info"]):
        done = subprocess.run(
            [sys.executable, str(ROOT / "cli.py"), *command],
            cwd=board_home, env={**os.environ, **environment}, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode(encoding, "replace")
        # click writes UTF-8 where a stream claims to be ASCII.
        text = done.stdout.decode(encoding, "replace" if encoding == "ascii" else "strict")
        if command == ["leaderboard"] and encoding != "ascii" and "COLUMNS" not in environment:
            assert "요약왕" in text


# --- score, contest, baseline ---


def test_the_score_at_home_is_the_score_on_the_board(home: Path, ours: Contest, perfect: Path) -> None:
    """Score --references on the answers gives the figures and the signature of submit."""
    partial = write_predictions(home / "p.csv", dict.fromkeys(ours.test_ids, "장소는 시장이고 참가비는 500원"))
    receipt = json.loads(matbogi(home, "submit", partial, "--team", "가", "--format", "json").stdout)
    answers_file = ours.root / "private" / "answers.csv"
    scored = json.loads(
        matbogi(home, "score", partial, "--references", answers_file, "--format", "json").stdout
    )
    assert scored["signature"] == receipt["signature"]
    assert [item for item in scored["scores"] if item["split"] == "public"] == receipt["scores"]


def test_a_row_is_explained_token_by_token(home: Path, perfect: Path) -> None:
    """The table has every token and the arithmetic; JSON has the same; the figure is that of score."""
    labels = write_predictions(home / "dev.csv", {"a": "시장에서 음악회, 참가비 500원", "b": "비가 온다"})
    mine = write_predictions(home / "mine.csv", {"a": "시장 음악회 참가비 500원", "b": ""})
    shown = matbogi(home, "score", mine, "--references", labels, "--explain", "a", "--explain", "b")
    assert "a, reference 1 of 1, tokens by mecab" in shown.stdout
    assert "R-1: 6 tokens in common" in shown.stdout
    assert shown.stdout.count("음악회") == 2
    arguments = ("score", mine, "--references", labels, "--explain", "a", "--format", "json")
    (found,) = json.loads(matbogi(home, *arguments).stdout)["a"]
    one_row = write_predictions(home / "one.csv", {"a": "시장 음악회 참가비 500원"})
    one_label = write_predictions(home / "one_label.csv", {"a": "시장에서 음악회, 참가비 500원"})
    scored = json.loads(matbogi(home, "score", one_row, "--references", one_label, "--format", "json").stdout)
    assert round(found["mean"], 4) == scored["scores"][0]["f1"]
    assert matbogi(home, "score", mine, "--references", labels, "--explain", "zz").returncode == 2


def test_hidden_answers_are_not_explained(home: Path, ours: Contest, perfect: Path) -> None:
    """The answers of a contest are never shown row by row, by whatever path they are reached."""
    for path in (
        ours.root / "private" / "answers.csv",
        ours.root / "private" / ".." / "private" / "answers.csv",
    ):
        refused = matbogi(home, "score", perfect, "--references", path, "--explain", ours.test_ids[0])
        assert refused.returncode == 5
        assert refused.stdout == ""
        assert "hidden references" in refused.stderr


def test_scores_come_with_notes_on_what_lowered_them(home: Path) -> None:
    """Korean under rouge-score's own tokenizer: the figure is 0, and the reason is told."""
    labels = write_predictions(home / "dev.csv", {"a": "비가 온다", "b": "눈이 온다"})
    scored = matbogi(home, "score", labels, "--references", labels, "--preset", "rouge_score")
    assert scored.returncode == 0
    assert "Note: 2 of 2 references have no tokens" in scored.stderr


def test_all_submissions_are_scored_again(board_home: Path, ours: Contest) -> None:
    """After the preset has changed, rescore brings every submission to the new board."""
    settings = ours.root / "contest.toml"
    settings.write_text(settings.read_text(encoding="utf-8").replace('"mecab"', '"syllable"'), encoding="utf-8")
    assert '"syllable"' in settings.read_text(encoding="utf-8")
    done = matbogi(board_home, "rescore")
    assert done.returncode == 0, done.stderr
    assert "3 submissions scored under the present signature" in done.stdout
    assert "tok:syllable" in matbogi(board_home, "leaderboard").stdout
    assert "Every submission has been scored" in matbogi(board_home, "rescore").stdout


def test_a_contest_from_one_s_own_file_runs_from_new_to_board(tmp_path: Path) -> None:
    """Contest new, check, info, both floors, the board."""
    with (tmp_path / "own.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["본문", "요약"])
        writer.writerows([f"{n}번째 글이다. 가격은 {n}원이다.", f"{n}번째 글 가격 {n}원"] for n in range(100))
    made = matbogi(tmp_path, "contest", "new", "우리반", "--from", "own.csv", "--seed", 3, "--daily-limit", 5)
    assert made.returncode == 0, made.stderr
    assert matbogi(tmp_path, "contest", "check").returncode == 0
    assert "5 a team and day" in matbogi(tmp_path, "contest", "info").stdout
    for name in ("lead", "textrank"):
        done = matbogi(tmp_path, "baseline", name, "--submit")
        assert done.returncode == 0, done.stderr
    board = json.loads(matbogi(tmp_path, "leaderboard", "--format", "json").stdout)
    assert {item["team"] for item in board["standings"]} == {"lead", "textrank"}


def test_a_broken_contest_is_told_with_codes(home: Path) -> None:
    """Contest check exits with 2 and names the fault."""
    (home / "contests" / "ours" / "test.csv").unlink()
    done = matbogi(home, "contest", "check", "ours")
    assert done.returncode == 2
    assert "C201" in done.stdout


def test_a_baseline_writes_its_predictions_and_card_where_told(home: Path) -> None:
    """-o says where; the card has the settings; the file is a valid submission."""
    done = matbogi(home, "baseline", "lead", "--sentences", 2, "--max-characters", 40, "-o", "out/p.csv")
    assert done.returncode == 0, done.stderr
    assert matbogi(home, "check", "out/p.csv").returncode == 0
    card = json.loads((home / "out" / "p.run.json").read_text(encoding="utf-8"))
    assert card["baseline"] == "lead"
    assert card["hyperparameters"] == {"sentences": 2, "max_characters": 40}
    assert set(card["data"]) == {"train.csv", "test.csv"}


def test_a_recipe_sets_what_the_options_leave(home: Path) -> None:
    """Options win over the recipe; a recipe for another baseline or with unknown settings is refused."""
    (home / "r.toml").write_text(
        'baseline = "lead"\nmessage = "from a recipe"\n[config]\nsentences = 3\nmax_characters = 50\n',
        encoding="utf-8",
    )
    done = matbogi(home, "baseline", "lead", "--recipe", "r.toml", "--sentences", 2, "--submit")
    assert done.returncode == 0, done.stderr
    shown = json.loads(matbogi(home, "show", 1, "--format", "json").stdout)
    assert shown["hyperparameters"] == {"sentences": 2, "max_characters": 50}
    assert shown["message"] == "from a recipe"
    assert matbogi(home, "baseline", "textrank", "--recipe", "r.toml").returncode == 2
    (home / "r.toml").write_text('baseline = "lead"\n[config]\nsentense = 3\n', encoding="utf-8")
    refused = matbogi(home, "baseline", "lead", "--recipe", "r.toml")
    assert refused.returncode == 2
    assert "sentense" in refused.stderr


def test_a_subfolder_finds_the_same_board(board_home: Path) -> None:
    """Typed in a notebook's folder, the command shows the project's board."""
    (board_home / "notebooks").mkdir()
    done = matbogi(board_home / "notebooks", "leaderboard")
    assert "요약왕" in done.stdout
    assert not (board_home / "notebooks" / "leaderboard.db").exists()
