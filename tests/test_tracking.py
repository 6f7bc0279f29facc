"""Trackers: what is told to them arrives, and what goes wrong with them harms no training."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from baselines import tracking
from baselines.tracking import TRACKERS, check_trackers, open_tracker
from harness.errors import HarnessError, UsageError

SETTINGS = {
    "r": 8,
    "learning_rate": 2e-4,
    "use_dora": False,
    "template": "{text} 한줄 요약:",
    "betas": (0.9, 0.999),
}


class Recorder:
    """A tracker that keeps what it is told, and fails when it is told to."""

    def __init__(self, folder: Path, title: str, settings: tracking.Settings, begun: int) -> None:
        self.title, self.settings = title, dict(settings)
        self.told: list[tuple[int, dict[str, float]]] = []
        self.closed = 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep them; step 3 fails."""
        if step == 3:
            raise ConnectionError("the line is dead")
        self.told.append((step, dict(values)))

    def close(self) -> None:
        """Count."""
        self.closed += 1


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """The recorders that were opened under the names ``one`` and ``two``."""
    opened: list[Recorder] = []

    def opener(folder: Path, title: str, settings: tracking.Settings, begun: int) -> Recorder:
        opened.append(Recorder(folder, title, settings, begun))
        return opened[-1]

    monkeypatch.setitem(TRACKERS, "one", opener)
    monkeypatch.setitem(TRACKERS, "two", opener)
    return opened


def test_tensorboard_reads_back_figures_and_settings(tmp_path: Path) -> None:
    """TensorBoard's own reader finds every figure at its step, and every setting with its value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    tracker = open_tracker("tensorboard", tmp_path, "lora", SETTINGS)
    for step in (1, 2, 3):
        tracker.log(step, {"loss": 3 / step, "learning_rate": 0.001})
    tracker.log(3, {"dev": 0.25})
    tracker.close()

    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(each.step, each.value) for each in found.Scalars("loss")] == [(1, 3.0), (2, 1.5), (3, 1.0)]
    assert [(each.step, each.value) for each in found.Scalars("dev")] == [(3, 0.25)]
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    told = HParamsPluginData.FromString(content).session_start_info.hparams
    assert told["r"].number_value == 8
    assert told["learning_rate"].number_value == 2e-4
    assert told["use_dora"].bool_value is False
    assert told["template"].string_value == "{text} 한줄 요약:"
    assert told["betas"].string_value == "(0.9, 0.999)"


def test_a_resumed_run_replaces_what_it_repeats(tmp_path: Path) -> None:
    """Killed after step 4, gone on with after step 2: each step stands once, with the later value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for begun, value in ((0, 1.0), (2, 9.0)):
        tracker = open_tracker("tensorboard", tmp_path, "lora", SETTINGS, begun)
        for step in range(begun + 1, 5):
            tracker.log(step, {"loss": value})
        tracker.close()
        time.sleep(1.1)  # a file of events is named by the second

    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(each.step, each.value) for each in found.Scalars("loss")] == [
        (1, 1.0),
        (2, 1.0),
        (3, 9.0),
        (4, 9.0),
    ]


def test_tensorboard_needs_no_torch(tmp_path: Path) -> None:
    """Neither torch nor tensorflow is loaded to write events."""
    script = (
        "import sys; from pathlib import Path; from baselines.tracking import open_tracker\n"
        f"open_tracker('tensorboard', Path({str(tmp_path)!r}), 'x', {{}}).close()\n"
        "print(*{'torch', 'tensorflow', 'mlflow', 'wandb'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize("names", ["", " ", ",", " , "])
def test_no_name_is_no_tracker(names: str, tmp_path: Path) -> None:
    """Nothing is opened, nothing is written, and figures may still be told."""
    tracker = open_tracker(names, tmp_path, "lora", SETTINGS)
    tracker.log(1, {"loss": 1.0})
    tracker.close()
    assert list(tmp_path.iterdir()) == []


def test_several_trackers_are_told_the_same(recorders: list[Recorder], tmp_path: Path) -> None:
    """Each name once, in whatever case; all get title, settings and figures, and are closed once."""
    tracker = open_tracker("one, TWO,one", tmp_path, "lora", SETTINGS)
    tracker.log(1, {"loss": 2.0, "dev": 0.3})
    tracker.close()
    tracker.close()
    assert [(each.title, each.told, each.closed) for each in recorders] == [
        ("lora", [(1, {"loss": 2.0, "dev": 0.3})], 1)
    ] * 2
    assert recorders[0].settings["betas"] == "(0.9, 0.999)"


def test_figures_that_are_no_numbers_are_not_passed_on(recorders: list[Recorder], tmp_path: Path) -> None:
    """A NaN loss has a message of its own; a tracker's server might refuse it."""
    tracker = open_tracker("one", tmp_path, "lora", {})
    tracker.log(1, {"loss": float("nan"), "lr": 0.5, "grad": float("inf")})
    assert recorders[0].told == [(1, {"lr": 0.5})]


def test_a_tracker_that_fails_is_given_up(recorders: list[Recorder], tmp_path: Path) -> None:
    """One warning; the figures after it go to those that are left."""
    tracker = open_tracker("tensorboard,one", tmp_path, "lora", {})
    tracker.log(1, {"loss": 3.0})
    with pytest.warns(UserWarning, match="one takes no more figures: the line is dead"):
        tracker.log(3, {"loss": 2.0})
    tracker.log(4, {"loss": 1.0})
    tracker.close()
    assert recorders[0].told == [(1, {"loss": 3.0})]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [each.step for each in found.Scalars("loss")] == [1, 3, 4]


def test_an_unknown_tracker_is_answered_with_near_ones(recorders: list[Recorder], tmp_path: Path) -> None:
    """All names are looked at before any is opened."""
    with pytest.raises(UsageError, match=r"no tracker 'tensorbord'") as found:
        open_tracker("one,tensorbord", tmp_path, "lora", {})
    assert "Did you mean 'tensorboard'?" in found.value.hint
    assert recorders == []


@pytest.mark.parametrize(
    ("name", "package"),
    [("tensorboard", "tensorboard"), ("mlflow", "mlflow-skinny"), ("wandb", "wandb"), ("trackio", "trackio")],
)
def test_a_missing_package_is_told_with_its_install_line(
    name: str, package: str, recorders: list[Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before training begins; and what was opened already is closed again."""
    for module in [each for each in sys.modules if each.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=f"{name} needs a package") as found:
        open_tracker(f"one,{name}", tmp_path, "lora", {})
    with pytest.raises(UsageError, match=f"{name} needs a package"):
        check_trackers(name)
    assert found.value.hint == f"python -m pip install -c constraints.txt {package}"
    assert recorders[0].closed == 1


def test_a_tracker_that_cannot_be_started_is_an_error_not_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the package raises: nobody logged in, no server."""

    def refuse(folder: Path, title: str, settings: tracking.Settings, begun: int) -> Recorder:
        raise PermissionError("no key")

    monkeypatch.setitem(TRACKERS, "wandb", refuse)
    with pytest.raises(HarnessError, match="wandb could not be started: no key"):
        open_tracker("wandb", tmp_path, "lora", {})
