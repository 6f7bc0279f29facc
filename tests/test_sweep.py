"""Decoding sweeps: what a grid means, what is better than noise, and the command that runs one."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import unicodedata
from dataclasses import fields
from pathlib import Path
from typing import Any

import fake_baseline
import numpy as np
import pytest
from click.testing import CliRunner, Result
from fake_baseline import Config

import baselines
import cli
from baselines import load_baseline
from baselines.sweep import AS_SET, DECODING, SAMPLING, Trial, Variant, as_grid, judge, plan, variants
from harness.command_line import command_line
from harness.errors import UsageError
from harness.tables import as_table, render


def names(grid: str, **settings: Any) -> list[str]:
    """The names of the variants of ``grid``."""
    return [variant.name for variant in variants(grid, Config(**settings))]


# --- the grid ---


def test_a_grid_changes_the_settings_of_decoding() -> None:
    """The names are the fields of ``Decoding``, in their order, and the sampling ones are among them."""
    from baselines.search import Decoding

    assert tuple(item.name for item in fields(Decoding)) == DECODING
    assert set(SAMPLING) < set(DECODING)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ("num_beams=1,2,4", ["num_beams=2", "num_beams=4"]),
        ("num-beams=2", ["num_beams=2"]),
        ("num_beams=2 num_beams=4,2", ["num_beams=2", "num_beams=4"]),
        ("top_p=.9,0.9,.90", ["do_sample=true top_p=0.9"]),
        ("top_p=1,.9", ["do_sample=true", "do_sample=true top_p=0.9"]),
        ("num_beams=1,4 top_p=.9", ["do_sample=true top_p=0.9", "num_beams=4"]),
        ("num_beams=1,2 length_penalty=1,2", ["num_beams=2", "num_beams=2 length_penalty=2"]),
        ("do_sample=true,false", ["do_sample=true"]),
        ("do_sample=true,false num_beams=1,2", ["do_sample=true", "num_beams=2"]),
        ("do_sample=false,true top_p=.9", ["do_sample=true top_p=0.9"]),
        ("do_sample=yes temperature=.5 top_k=0,5",
         ["do_sample=true temperature=0.5", "do_sample=true temperature=0.5 top_k=5"]),
        ("stop_strings=.|!", ["stop_strings='.|!'"]),
        (r"stop_strings=\n", [r"stop_strings='\n'"]),
        ("stop_strings='a b'", ["stop_strings='a b'"]),
    ],
)  # fmt: skip
def test_a_grid_is_the_cross_product_without_what_does_nothing(grid: str, expected: list[str]) -> None:
    """The settings as they are come first; repetitions and settings without effect are taken out."""
    assert names(grid) == [AS_SET, *expected]


def test_a_grid_starts_from_the_settings_as_they_are() -> None:
    """A sampling configuration goes to beams by not sampling, and back to one beam by sampling again."""
    assert names("num_beams=1,4 top_p=.8,.9", do_sample=True, top_p=0.8) == [
        AS_SET, "top_p=0.9", "num_beams=4 do_sample=false",
    ]  # fmt: skip
    assert names("num_beams=1,4", num_beams=4) == [AS_SET, "num_beams=1"]


def test_every_variant_has_its_whole_config() -> None:
    """The first is the very config; the others differ in their changes and in nothing else."""
    config = Config(template="{text}:", grid="num_beams=1,4 top_k=5")
    first, *others = variants(config.grid, config)
    assert first.config is config
    assert first.changes == {}
    for variant in others:
        differing = {
            item.name: getattr(variant.config, item.name)
            for item in fields(config)
            if getattr(variant.config, item.name) != getattr(config, item.name)
        }
        assert differing == variant.changes
    assert [type(value) for value in others[0].changes.values()] == [bool, int]


def test_what_is_left_out_is_said() -> None:
    """A sentence for each setting and reason, with the beams it concerns."""
    found = plan("num_beams=1,2,4 top_p=.9 length_penalty=1,2 do_sample=true,false", Config())
    assert found.left_out == [
        "With num_beams=1: no length_penalty (one beam has nothing to choose from).",
        "With num_beams=1: no top_p (nothing is drawn).",
        "With num_beams=2, 4: no do_sample=true (beams do not sample).",
        "With num_beams=2, 4: no top_p (beams do not sample).",
    ]
    assert plan("num_beams=2,4", Config()).left_out == []


MANY = ",".join(f"0.{number:02}" for number in range(1, 40))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("num_beam=2", r"no decoding setting 'num_beam'.*Did you mean 'num_beams'"),
        ("steps=2", r"steps is not a decoding setting.*a run of its own.*There are: stop_strings"),
        ("max_new_tokens=9", r"no decoding setting 'max_new_tokens'"),
        ("num_beams=2.5", r"num_beams takes a whole number, not '2.5'"),
        ("num_beams=2,", r"num_beams takes a whole number, not ''"),
        ("top_p=high", r"top_p takes a number, not 'high'"),
        ("top_p=nan", r"top_p takes a number"),
        ("top_p=inf", r"top_p takes a number"),
        ("do_sample=maybe", r"do_sample is true or false"),
        ("num_beams", r"'num_beams' is not of the form NAME=VALUES"),
        ("=2", r"'=2' is not of the form NAME=VALUES"),
        ("stop_strings='a", r"quotation mark is not closed"),
        (" ", r"The grid is empty"),
        ("num_beams=0", r"num_beams=0: num_beams must be above 0"),
        ("num_beams=1", r"Nothing in the grid differs"),
        ("length_penalty=2", r"Nothing in the grid differs.*no length_penalty"),
        ("top_k=" + ",".join(map(str, range(70))), r"more than 64 variants"),
        (f"temperature={MANY} top_p={MANY} length_penalty={MANY}", r"more than 10,000 combinations"),
    ],
)
def test_a_grid_that_cannot_be_understood_is_told_why(grid: str, message: str) -> None:
    """The word, what is wrong with it, and what there is."""
    with pytest.raises(UsageError) as found:
        plan(grid, Config())
    assert re.search(message, str(found.value).replace("\n", " "))


# --- the verdict ---


def trials(gains: list[float], noise: float = 0.05, rows: int = 100) -> list[Trial]:
    """A trial for each gain over the first, on rows that share their difficulty."""
    generator = np.random.default_rng(8)
    base = generator.beta(4, 5, rows)
    found = []
    for number, gain in enumerate(gains):
        figures = base + gain + (generator.normal(0, noise, rows) if number else 0)
        variant = Variant({"num_beams": number + 1} if number else {}, None)
        per_row = {"rouge1": figures + 0.1, "rouge2": figures - 0.1, "rougeL": figures}
        found.append(Trial(variant, per_row, None, 30.0))
    return found


def test_a_sweep_over_noise_says_so() -> None:
    """None of nine; the highest is named with the p-value it has alone and the corrected one."""
    verdict = judge(trials([0.0] * 10))
    assert verdict.tried == 9
    assert verdict.sentences[0] == "None of 9 is better than noise."
    assert verdict.marked("better") == verdict.marked("worse") == []
    assert " alone, corrected p " in verdict.sentences[1]


def test_a_gain_and_a_loss_are_told_with_their_evidence() -> None:
    """The figures of the sentence are those of the comparison; what is worse is said too."""
    verdict = judge(trials([0, 0.0, 0.05, -0.05, 0.0]))
    better, worse = verdict.marked("better"), verdict.marked("worse")
    assert [each.name for each in better] == ["num_beams=3"]
    assert [each.name for each in worse] == ["num_beams=4"]
    found = better[0].comparison
    assert found is not None
    assert found.low < 0.05 < found.high
    first, second = verdict.sentences
    assert first.startswith(f"num_beams=3 is better than as set: +.0{found.difference * 1e4:.0f} (95% .0")
    assert first.endswith("corrected p <.001).")
    assert second.startswith("Worse than as set, by more than noise: num_beams=4 (-.0")


def test_several_that_are_better_are_named_the_highest_first() -> None:
    """At most three by name, and no claim about which is the best."""
    sentences = judge(trials([0, 0.05, 0.07, 0.06, 0.08, 0.04], noise=0.01)).sentences
    assert [line.split()[0] for line in sentences[:3]] == ["num_beams=5", "num_beams=3", "num_beams=4"]
    assert sentences[3:] == ["2 more are better too.", "Which of these is the best was not tested."]


def test_the_ranking_figure_is_the_mean_of_the_three() -> None:
    """Row by row, as the board's mean is."""
    per_row = {"rouge1": np.array([0.6, 0.3]), "rouge2": np.array([0.3, 0.0]), "rougeL": np.array([0.3, 0.3])}
    trial = Trial(Variant({}, None), per_row, 1.0, 20.0)
    assert trial.figures == pytest.approx([0.4, 0.2])
    assert judge([trial, trial]).judged[0].figure == pytest.approx(0.3)


def test_the_table_comes_in_four_formats() -> None:
    """As set first, then the highest; JSON and CSV hold the figures in full, people see the interval."""
    verdict = judge(trials([0, -0.05, 0.05], noise=0.01))
    grid = as_grid(verdict, ["With num_beams=4: no top_p (beams do not sample)."])
    assert [row["variant"] for row in grid.rows] == [AS_SET, "num_beams=3", "num_beams=2"]
    document = json.loads(render(grid, "json"))
    assert document["verdict"] == verdict.sentences
    assert document["better"] == ["num_beams=3"]
    assert document["variants"][1]["changes"] == {"num_beams": 3}
    rows = list(csv.DictReader(io.StringIO(render(grid, "csv"))))
    assert [row["mark"] for row in rows] == ["", "better", "worse"]
    assert float(rows[1]["low"]) == document["variants"][1]["low"] > 0
    assert "no top\\_p" in render(grid, "markdown")
    from rich.console import Console

    narrow = Console(width=80, file=io.StringIO(), force_terminal=False)
    narrow.print(as_table(grid, 80))
    text = narrow.file.getvalue()  # type: ignore[attr-defined]
    assert "corrected p" in text
    assert "better" in text
    assert "seconds" not in text


# --- the command ---


@pytest.fixture
def fake(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which ``baseline fake`` can be run in this process."""
    monkeypatch.setitem(baselines.BASELINES, "fake", ("fake_baseline", "Figures that are drawn."))
    monkeypatch.chdir(home)
    return home


def typed(line: str) -> Result:
    """Run a command line as a shell would split it."""
    return CliRunner().invoke(cli.cli, shlex.split(line))


@pytest.mark.parametrize(
    "grid",
    [
        "--grid num_beams=1,4 top_p=.9,.95",
        '--grid "num_beams=1,4 top_p=.9,.95"',
        "--grid num_beams=1,4 --grid top_p=.9,.95",
        "--grid=num_beams=1,4 top_p=.9,.95",
    ],
)
def test_a_grid_is_typed_with_or_without_quotation_marks(fake: Path, grid: str) -> None:
    """Options before and after it keep their values; the sweep is kept; the next command takes the best."""
    done = typed(f"baseline fake --adapter runs/x/adapter {grid} --steps 7 -o out/p.csv --format json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["variants"][0]["variant"] == AS_SET
    assert document["tried"] == 3
    assert document["better"] == ["num_beams=4"]
    kept = json.loads((fake / "out" / "sweep.json").read_text(encoding="utf-8"))
    assert kept["variants"] == document["variants"]
    settings = kept["run"]["hyperparameters"]
    assert (settings["grid"], settings["steps"]) == ("num_beams=1,4 top_p=.9,.95", 7)
    assert not (fake / "out" / "p.csv").exists()
    next_line = done.stderr.splitlines()[-1].removeprefix(f"Next: {cli.PROGRAM} ")
    assert next_line == (
        "baseline fake --adapter runs/x/adapter --steps 7 --num-beams 4 --output out/p.csv --submit"
    )
    assert typed(next_line).exit_code == 0


def test_the_verdict_stands_below_the_table(fake: Path) -> None:
    """On standard output, with what was left out."""
    done = typed("baseline fake --grid num_beams=1,4 top_p=.9,.5")
    assert done.exit_code == 0, done.output
    assert "num_beams=4 is better than as set: +.0" in done.stdout
    assert "Worse than as set, by more than noise: do_sample=true top_p=0.5" in done.stdout
    assert "With num_beams=4: no top_p" in done.stdout
    assert "sweep.json" in done.stderr


def test_the_next_command_uses_the_adapter_that_was_trained(fake: Path) -> None:
    """Where the sweep has trained one first; and what was resumed is not resumed again."""
    done = typed("baseline fake --resume out --grid num_beams=4")
    line = shlex.split(done.stderr.splitlines()[-1])
    assert line[line.index("--adapter") + 1] == str(Path("out") / "adapter")
    assert "--resume" not in line


def test_a_recipe_may_hold_a_grid(fake: Path) -> None:
    """The next command switches it off, for the recipe's would be tried again."""
    recipe = fake / "a recipe.toml"
    recipe.write_text('baseline = "fake"\n[config]\nadapter = "x"\ngrid = "num_beams=4"\n', encoding="utf-8")
    done = typed("baseline fake --recipe 'a recipe.toml'")
    assert done.exit_code == 0, done.output
    next_line = done.stderr.splitlines()[-1].removeprefix(f"Next: {cli.PROGRAM} ")
    assert "--recipe 'a recipe.toml'" in next_line
    handed_in = typed(next_line)
    assert handed_in.exit_code == 0, handed_in.output
    assert "sweep.json" not in handed_in.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--grid num_beams=1,4 --submit", "runs on dev, not on the board"),
        ("--grid num_beems=4", "Did you mean 'num_beams'"),
        ("--grid", "requires an argument"),
        ("--grid --submit", "'--submit' is not of the form NAME=VALUES"),
        ("num_beams=4", "unexpected extra argument"),
        ("--steps 3 num_beams=4", "unexpected extra argument"),
        ("--format json", "together with --grid"),
    ],
)
def test_a_grid_that_cannot_be_run_is_a_matter_of_usage(fake: Path, line: str, message: str) -> None:
    """Exit code 2, before anything is trained or written."""
    done = typed(f"baseline fake {line}")
    assert done.exit_code == 2
    assert message in done.output
    assert not (fake / "runs").exists()


def test_only_a_baseline_that_can_be_swept_has_formats(fake: Path) -> None:
    """``lead`` has neither --grid nor --format."""
    assert "--format" in typed("baseline fake --help").stdout
    assert "NAME=VALUES" in typed("baseline fake --help").stdout
    assert "--format" not in typed("baseline lead --help").stdout
    assert load_baseline("fake") is fake_baseline  # type: ignore[comparison-overlap]


# --- the line to type again ---


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "a b", "--template", "{text} 한줄 요약:"],
        ["it's", 'say "x"', "$HOME `ls` \\ !", "*", "", "~/x", "a;b|c&d"],
        ["첫 줄\n둘째\t줄'", "끝\\n", "\x1b[31mred\x1b[0m", "가\u202e나"],
        ["\u1112\u1161\u11ab.csv", "two  spaces "],
    ],
)
def test_a_line_is_read_back_by_the_shell_as_the_same_words(words: list[str]) -> None:
    """Bash is the judge; no control or format character is in the line."""
    line = command_line(words, windows=False)
    assert not any(unicodedata.category(character) in ("Cc", "Cf") for character in line)
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    script = f"printf '%s\\0' {line}"
    done = subprocess.run([bash, "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


def test_on_windows_a_line_has_double_quotation_marks() -> None:
    """As its own programs read them."""
    assert command_line(["-m", "a b", "r=8"], windows=True) == '-m "a b" r=8'
