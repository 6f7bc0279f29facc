"""Training as a whole program: killed, interrupted, gone on with; and how steps are cut into batches."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from test_lora import settings
from tiny_models import write_model

from baselines.training import steps_of
from harness.prepare import new_contest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a contest of 40 rows and a random GPT-J."""
    folder = tmp_path_factory.mktemp("training")
    rows = "\n".join(f"비가 {n}mm 왔다. 우산이 필요하다.,비 {n}mm" for n in range(40))
    (folder / "rows.csv").write_text(f"text,summary\n{rows}\n", encoding="utf-8")
    new_contest("rain", folder / "rows.csv", into=folder / "contests", test_size=0.2)
    write_model("gptj", folder / "model")
    return folder


def command(place: Path, output: str, **options: Any) -> list[str]:
    """``baseline lora`` in a process of its own, with a checkpoint after every step."""
    values = {
        "model": place / "model", "contest": place / "contests" / "rain",
        "output": place / output / "preds.csv", "max-steps": 12, "dev-size": 4,
        "eval-steps": 4, "save-steps": 1, "max-new-tokens": 4,
        "learning-rate": 0.05, "warmup-steps": 0, "per-device-train-batch-size": 2, **options,
    }  # fmt: skip
    words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "cli.py", "baseline", "lora", *words]


def finished(words: list[str]) -> subprocess.CompletedProcess[str]:
    """The process at its end."""
    return subprocess.run(
        words, cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False
    )


def stopped(words: list[str], checkpoint: Path, with_signal: int) -> tuple[int, str]:
    """Start the process, send it a signal as soon as it has a checkpoint; its exit code and messages."""
    process = subprocess.Popen(
        words, cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not checkpoint.is_dir() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(with_signal)
    _, messages = process.communicate()
    return process.returncode, messages


def weights(place: Path, output: str) -> bytes:
    """The adapter a run left, byte for byte."""
    return (place / output / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_ends_with_the_same_bits(place: Path, number: signal.Signals) -> None:
    """Killed or interrupted in the middle, resumed by hand: adapter, losses, summaries. Ctrl-C says how."""
    if not (place / "whole").exists():
        assert finished(command(place, "whole")).returncode == 0
    name = number.name.lower()
    code, messages = stopped(command(place, name), place / name / "checkpoint", number)
    assert code == (130 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert "a checkpoint is written" in messages
        assert f"--resume {place / name}" in messages
    assert not (place / name / "preds.csv").exists()
    resumed = finished(command(place, f"{name}-resumed", resume=place / name))
    assert resumed.returncode == 0, resumed.stderr
    assert weights(place, f"{name}-resumed") == weights(place, "whole")
    cards = [
        json.loads((place / each / "preds.run.json").read_text("utf-8"))["notes"]["loss"]
        for each in ("whole", f"{name}-resumed")
    ]
    assert cards[0] == cards[1]
    assert len(cards[0]) == 12
    written = [(place / each / "preds.csv").read_text("utf-8") for each in ("whole", f"{name}-resumed")]
    assert written[0] == written[1]
    shutil.rmtree(place / name)


def flat(steps: list[list[list[int]]]) -> list[int]:
    """The examples of ``steps`` in order."""
    return [place for step in steps for batch in step for place in batch]


def test_every_example_is_in_one_batch_of_an_epoch() -> None:
    """Ten examples, batches of 3, two batches to a step: 3+3, 3+1; the second epoch in another order."""
    steps = steps_of([5] * 10, settings(max_steps=0, num_train_epochs=2, per_device_train_batch_size=3,
                                        gradient_accumulation_steps=2))  # fmt: skip
    assert [[len(batch) for batch in step] for step in steps] == [[3, 3], [3, 1]] * 2
    epochs = [
        [place for step in steps[start : start + 2] for batch in step for place in batch] for start in (0, 2)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10))
    assert epochs[0] != epochs[1]


def test_batches_by_tokens_are_full_and_none_overflows() -> None:
    """At most 20 tokens a batch, except for an example of 30 that stands alone."""
    lengths = [7, 7, 7, 30, 4, 4, 4, 4, 9]
    steps = steps_of(lengths, settings(max_steps=0, num_train_epochs=1, train_batch_tokens=20))
    batches = [batch for step in steps for batch in step]
    assert sorted(place for batch in batches for place in batch) == list(range(9))
    for batch in batches:
        assert sum(lengths[place] for place in batch) <= 20 or batch == [3]
    for batch, following in itertools.pairwise(batches):
        assert sum(lengths[place] for place in batch) + lengths[following[0]] > 20


def test_epochs_may_be_parts_and_steps_count_across_them() -> None:
    """An epoch of 5 steps: half of it is 3, two and a half are 13, and max_steps overrules."""

    def count(**changes: Any) -> int:
        return len(steps_of([5] * 10, settings(**{"max_steps": 0, "per_device_train_batch_size": 2} | changes)))

    assert count(num_train_epochs=0.5) == 3
    assert count(num_train_epochs=2.5) == 13
    assert count(max_steps=7, num_train_epochs=1) == 7


def test_processes_share_a_step() -> None:
    """Two processes with batches of 2 make the steps of one with batches of 4."""
    one = steps_of([5] * 10, settings(max_steps=0, per_device_train_batch_size=4))
    two = steps_of([5] * 10, settings(max_steps=0, per_device_train_batch_size=2), processes=2)
    assert [flat([step]) for step in one] == [flat([step]) for step in two]


@pytest.mark.slow
def test_an_exhausted_memory_says_what_to_lower(place: Path) -> None:
    """A process that may take 10 MB more when training begins, and batches of 26 prompts of 450 tokens."""
    template = "비가 많이 왔다. " * 90 + "{text} 요약:"
    words = command(place, "poor", template=template, **{"per-device-train-batch-size": 26, "dev-size": 0})
    script = (
        "import resource, runpy, sys\n"
        "import torch._dynamo\n"
        "from baselines.training import Training\n"
        "run = Training.run\n"
        "def poor(*arguments):\n"
        "    used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "    resource.setrlimit(resource.RLIMIT_AS, (used + 10_000_000, resource.RLIM_INFINITY))\n"
        "    return run(*arguments)\n"
        "Training.run = poor\n"
        f"sys.argv = {words[1:]!r}\n"
        "runpy.run_path('cli.py', run_name='__main__')\n"
    )
    done = finished([sys.executable, "-c", script])
    assert done.returncode == 2, done.stderr[-2000:]
    assert "There is no memory left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning-rate": 1e30}, "The loss is not a number any more"),
        ({"template": "요약:"}, "must hold {text} once"),
        ({"model": "/nowhere/model"}, "There is no model"),
    ],
)
def test_what_goes_wrong_is_one_message(place: Path, options: dict[str, Any], message: str) -> None:
    """A loss that overflows, a template without its place, a model that is not there: no traceback."""
    done = finished(command(place, "wrong", **options))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_with_adapters_in_full(place: Path, precision: str) -> None:
    """The base is halved, the adapter is not; the losses are near those of fp32."""
    from safetensors.torch import load_file

    losses = []
    for name in ("fp32", precision):
        done = finished(command(place, f"in-{name}", precision=name, **{"max-steps": 4}))
        assert done.returncode == 0, done.stderr
        card = json.loads((place / f"in-{name}" / "preds.run.json").read_text("utf-8"))
        losses.append(card["notes"]["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    state = load_file(place / f"in-{precision}" / "adapter" / "adapter_model.safetensors")
    assert {str(value.dtype) for value in state.values()} == {"torch.float32"}
