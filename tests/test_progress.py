"""What a long run shows of itself: speeds and times, the live block, lines without a terminal, Ctrl-C."""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import fake_baseline
import pytest
from rich.cells import cell_len
from rich.console import Console

from cli import PROGRAM, ProgressBlock
from harness.pace import Stages, clock, split_stage

NOTE = "training: loss 1.234  lr 3.0e-03  4,512 tokens/s  dev .2408 at 400, best"

# --- speeds and times ---


def left(stages: Stages, now: float) -> float:
    """Seconds left, which must be known."""
    found = stages.seconds_left(now)
    assert found is not None
    return found


def test_the_time_left_is_steps_left_at_the_present_speed() -> None:
    """Two seconds a step, 90 steps to go; between reports it counts down, and not below 0."""
    stages = Stages()
    for step in range(1, 11):
        stages.report(step, 100, "training: loss 1", 2.0 * step)
    assert left(stages, 20.0) == pytest.approx(180)
    assert left(stages, 21.5) == pytest.approx(178.5)
    assert left(stages, 500.0) == 0


def test_nothing_is_said_before_there_is_a_speed() -> None:
    """The first report may be step 1 or step 400 of a resumed run: it tells nothing of speed."""
    stages = Stages()
    assert stages.seconds_left(0.0) is None
    stages.report(400, 1_000, "training: loss 1", 3.0)
    assert stages.seconds_left(3.0) is None
    stages.report(401, 1_000, "training: loss 1", 4.0)
    assert left(stages, 4.0) == pytest.approx(599)


def test_the_present_speed_outweighs_an_old_one() -> None:
    """A run that became ten times slower is believed within minutes, and one slow step changes little."""
    stages, now = Stages(), 0.0
    for step in range(1, 1_001):
        now += 0.1
        stages.report(step, 2_000, "training:", now)
    stages.report(1_001, 2_000, "training:", now + 3)
    assert left(stages, now + 3) == pytest.approx(999 * 0.11, rel=0.05)
    now += 3
    for step in range(1_002, 1_202):
        now += 1.0
        stages.report(step, 2_000, "training:", now)
    assert left(stages, now) == pytest.approx(799, rel=0.02)


def test_time_on_dev_is_shared_out_over_the_steps() -> None:
    """100 steps of .1 s and a dev score of 10 s: the other 100 steps will take 20 s, not 10 and not 1,000."""
    stages, now = Stages(), 0.0
    stages.report(0, 200, "training:", now)
    for step in range(1, 101):
        now += 0.1
        stages.report(step, 200, "training:", now)
    for done in range(0, 101, 10):
        stages.report(done, 100, "scoring dev:", now)
        now += 0.0 if done == 100 else 1.0
    assert stages.stage == "scoring dev"
    assert left(stages, now) == 0
    now += 0.1
    stages.report(101, 200, "training:", now)
    assert left(stages, now) == pytest.approx(99 * (0.1 + 10 / 101), rel=0.01)


def test_a_stage_that_begins_again_has_a_new_pace() -> None:
    """Dev is scored every so many steps: counts fall back to 0, and nothing is negative."""
    stages = Stages()
    for now, done in enumerate([0, 50, 100, 0, 10]):
        stages.report(done, 100, "scoring dev:", float(now))
    assert left(stages, 4.0) == pytest.approx(9)


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        (NOTE, ("training", NOTE.removeprefix("training: "))),
        ("scoring dev: after step 50", ("scoring dev", "after step 50")),
        ("decoding:", ("decoding", "")),
        ("", ("", "")),
        ("errors 0, 120 tokens, $0.01", ("", "errors 0, 120 tokens, $0.01")),
        ("12:30", ("", "12:30")),
        ("http://x", ("", "http://x")),
    ],
)
def test_a_note_may_begin_with_the_stage(note: str, expected: tuple[str, str]) -> None:
    """Letters and a colon; other notes are left as they are."""
    assert split_stage(note) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "-:--"), (0, "0:00"), (6.2, "0:07"), (59.5, "1:00"), (204, "3:24"), (3_723, "1:02:03"),
     (86_399.5, "1 d 0 h"), (183_600, "2 d 3 h")],
)  # fmt: skip
def test_times_are_short(seconds: float | None, expected: str) -> None:
    """As on a clock; days where it comes to that."""
    assert clock(seconds) == expected


# --- the block ---


def drawn(block: ProgressBlock, width: int, encoding: str = "utf-8") -> list[str]:
    """The lines of ``block`` on a terminal of so many cells."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", write_through=True)
    console = Console(file=file, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    console.print(block)
    file.seek(0)
    return file.read().splitlines()


def block_of(note: str, done: int = 412, total: int = 2_400) -> ProgressBlock:
    """A block after two reports."""
    stages = Stages()
    stages.report(done - 1, total, note, 0.0)
    stages.report(done, total, note, 0.1)
    return ProgressBlock("lora", stages)


def test_at_80_columns_the_note_has_a_line_of_its_own() -> None:
    """Stage, step of total and time left above; loss, rate, speed and dev below; nothing is cut."""
    first, second = drawn(block_of(NOTE), 80)
    assert first.startswith("lora training ")
    assert "412/2,400" in first
    assert "ETA" in first
    assert second.rstrip() == NOTE.removeprefix("training: ")


def test_at_120_columns_one_line_is_enough() -> None:
    """The bar gives way to the note."""
    (line,) = drawn(block_of(NOTE), 120)
    assert "412/2,400" in line
    assert line.rstrip().endswith("dev .2408 at 400, best")


@pytest.mark.parametrize("width", [10, 20, 40, 60, 79, 80, 100, 119, 120, 200])
@pytest.mark.parametrize("note", [NOTE, "", "training: " + "긴 글 " * 60, "no stage here", "decoding:"])
def test_the_block_never_wraps(note: str, width: int) -> None:
    """At most two lines, none wider than the terminal, Hangul counted as two cells."""
    lines = drawn(block_of(note), width)
    assert 1 <= len(lines) <= 2
    assert all(cell_len(line) <= width for line in lines)


def test_the_block_does_not_jump() -> None:
    """A stage that has needed two lines keeps them; another stage is drawn as it needs."""
    block = block_of(NOTE)
    assert len(drawn(block, 80)) == 2
    block.stages.report(413, 2_400, "training: loss 1.2", 0.2)
    assert len(drawn(block, 80)) == 2
    block.stages.report(1, 100, "decoding:", 0.3)
    assert len(drawn(block, 80)) == 1


def test_before_the_first_report_there_is_a_title() -> None:
    """Loading a model takes a while."""
    (line,) = drawn(ProgressBlock("lora", Stages()), 80)
    assert line.startswith("lora ")


def test_a_note_cannot_steer_the_terminal() -> None:
    """Escape sequences and markup are shown or dropped, not obeyed."""
    text = "".join(drawn(block_of("training: \x1b]52;c;aGk=\x07[bold]x[/] \u202e"), 120))
    assert not set(text) & set("\x07\u202e")
    assert "\x1b]52" not in text
    assert "[bold]x[/]" in text


def test_the_block_is_drawn_on_a_korean_windows_console() -> None:
    """CP949 has every character of it."""
    assert drawn(block_of(NOTE), 80, encoding="cp949")


# --- as a process ---


def fake(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """``baseline fake`` with a pipe for standard error, speaking at every step."""
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root), str(root / "tests")])
    return subprocess.Popen(
        [sys.executable, fake_baseline.__file__, "baseline", "fake", *arguments],
        cwd=home, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip


def test_without_a_terminal_a_long_run_speaks_in_lines(home: Path) -> None:
    """Title, stage, counts, time left and the note; no bar and no control character."""
    with fake(home, "--steps", "60", "--delay", "0.001") as running:
        _, said = running.communicate()
    assert running.returncode == 0, said
    assert any(line.startswith("fake training ") and "lr 3.0e-03" in line for line in said.splitlines())
    assert "left  loss" in said
    assert "fake scoring dev 100/100" in said
    assert "dev .2408 at 50, best" in said
    assert not set(said) & set("\x1b\r━")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_says_the_command_that_goes_on(home: Path) -> None:
    """Exit code 130; the options are those that were typed, quoted, and the run's folder; and it runs."""
    template = "{text} it's\n요약:"
    with fake(home, "--steps", "1000000", "--delay", "0.01", "--template", template, "-m", "a b") as running:
        assert running.stderr is not None
        watchdog = threading.Timer(60, running.kill)  # a test that hangs tells nothing
        watchdog.start()
        for line in running.stderr:
            if line.startswith("fake training 3/"):
                break
        running.send_signal(signal.SIGINT)
        said = running.stderr.read().splitlines()
        watchdog.cancel()
    assert running.returncode == 130, said
    assert any(line.startswith("Stopped at step ") for line in said)
    assert said[-1].startswith(f"Next: {PROGRAM} baseline fake ")
    words = shlex.split(said[-1].replace(r"$'{text} it\'s\n요약:'", "TEMPLATE"))
    assert words[words.index("--template") + 1] == "TEMPLATE"
    assert words[words.index("--message") + 1] == "a b"
    folder = Path(words[words.index("--resume") + 1])
    assert folder.parent == home / "runs"
    assert folder.is_dir()
    with fake(home, "--steps", "2", "--resume", str(folder)) as again:
        _, ended = again.communicate()
    assert again.returncode == 0, ended
    assert (folder / "preds.csv").exists()
    assert ended.splitlines()[-1] == f"Next: {PROGRAM} submit {folder / 'preds.csv'}"
