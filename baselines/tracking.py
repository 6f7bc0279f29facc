"""Figures of a training as it goes, for those who watch with TensorBoard, MLflow, W&B or trackio.

::

    tracker = open_tracker("tensorboard", folder, "lora", {"r": 8, "learning_rate": 2e-4}, begun=0)
    tracker.log(200, {"loss": 1.31, "dev": .2408})
    tracker.close()

None of the packages is needed; each is imported when it is asked for. To add one: an opener here and a line
in ``TRACKERS``. Where the figures go is each package's own business: TensorBoard's lie in the run's
folder, MLflow's where MLFLOW_TRACKING_URI says (mlflow.db in the present folder), W&B's in the account
that is logged in, trackio's in its own folder on this machine.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from harness.errors import HarnessError, UsageError

PROJECT = "matbogi"
"""What the runs are filed under where a tracker has projects or experiments."""

MAX_TEXT = 500
"""Characters of a setting that are passed on; MLflow takes no more on older servers."""

SECONDS_UNWRITTEN = 10
"""How long TensorBoard's events may wait before they are in the file, where somebody may be looking."""

Settings = Mapping[str, bool | int | float | str]


class Tracker(Protocol):
    """Takes figures by step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep ``values`` of ``step``."""
        ...

    def close(self) -> None:
        """Write what is not yet written, and end the run."""
        ...


class TensorBoard:
    """Events in ``folder/tensorboard``, with the settings for its HPARAMS page. Needs no torch."""

    def __init__(self, folder: Path, title: str, settings: Settings, begun: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder / "tensorboard"), flush_secs=SECONDS_UNWRITTEN)
        self._add(0, summary=hparams_pb(dict(settings), trial_id=title))
        if begun:  # readers forget what was told of later steps by the part of the run that was killed
            self._add(begun + 1, session_log=SessionLog(status=SessionLog.START))

    def _add(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, **content))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As ``Tracker``."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(step, summary=Summary(value=scalars))

    def close(self) -> None:
        """As ``Tracker``."""
        self._writer.close()


class MLflow:
    """A run of the experiment ``matbogi``; mlflow-skinny is enough, with the board's SQLAlchemy and Alembic."""

    def __init__(self, folder: Path, title: str, settings: Settings, begun: int) -> None:
        import mlflow

        self._mlflow = mlflow
        mlflow.set_experiment(PROJECT)
        mlflow.start_run(run_name=title)
        mlflow.log_params(dict(settings))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As ``Tracker``."""
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """As ``Tracker``."""
        self._mlflow.end_run()


class WandB:
    """A run of the project ``matbogi``; its files lie in ``folder/wandb``."""

    def __init__(self, folder: Path, title: str, settings: Settings, begun: int) -> None:
        import wandb

        # What this program prints stays on its terminal.
        quiet = wandb.Settings(console="off")
        self._run = wandb.init(
            project=PROJECT, name=title, config=dict(settings), dir=str(folder), settings=quiet
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As ``Tracker``."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """As ``Tracker``."""
        self._run.finish()


class Trackio:
    """A run of the project ``matbogi``, on this machine; ``trackio show`` opens it."""

    def __init__(self, folder: Path, title: str, settings: Settings, begun: int) -> None:
        import trackio

        self._trackio = trackio
        trackio.init(project=PROJECT, name=title, config=dict(settings))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As ``Tracker``."""
        self._trackio.log(dict(values), step=step)

    def close(self) -> None:
        """As ``Tracker``."""
        self._trackio.finish()


Opener = Callable[[Path, str, Settings, int], Tracker]

TRACKERS: dict[str, Opener] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB, "trackio": Trackio}
"""Name to what opens it, given the run's folder, title and settings, and the steps after which it goes on."""

PACKAGES = {"mlflow": "mlflow-skinny"}
"""What to install where the package is not called as the tracker is."""


class Several:
    """Any number of trackers as one. One that fails is given up, with a warning: training goes on."""

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = dict(trackers)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass on those of ``values`` that are numbers; a loss that is none has a message of its own."""
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        self._each(lambda tracker: tracker.log(step, finite))

    def close(self) -> None:
        """Close all of them."""
        self._each(lambda tracker: tracker.close())
        self._trackers.clear()

    def _each(self, act: Callable[[Tracker], object]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                act(tracker)
            except Exception as error:  # noqa: BLE001 - hours of training are worth more than a foreign package's figures
                del self._trackers[name]
                warnings.warn(f"{name} takes no more figures: {error}", stacklevel=3)


def check_trackers(names: str) -> None:
    """Look whether the trackers in ``names`` are known and their packages here; open nothing.

    Raises:
        UsageError: an unknown name, or a package that is not installed, with the line that installs it.
    """
    for name in _known(names):
        if find_spec(name) is None:
            raise _not_installed(name, name)


def open_tracker(names: str, folder: Path, title: str, settings: Mapping[str, Any], begun: int = 0) -> Tracker:
    """The trackers in ``names`` (with commas; none for an empty text), told ``title`` and ``settings``.

    ``begun`` is the number of steps after which a run goes on that was stopped: TensorBoard replaces what it
    was told of later ones. The others open another run.

    Raises:
        UsageError: an unknown name, or a package that is not installed, with the line that installs it.
        HarnessError: a tracker cannot be started: nobody is logged in, or its server does not answer.
    """
    opened: dict[str, Tracker] = {}
    for name in _known(names):
        try:
            opened[name] = _open(name, folder, title, settings, begun)
        except HarnessError:
            Several(opened).close()
            raise
    return Several(opened)


def _known(names: str) -> Sequence[str]:
    """The names in ``names``, each once."""
    chosen = list(dict.fromkeys(name.strip().lower() for name in names.split(",") if name.strip()))
    for name in chosen:
        if name not in TRACKERS:
            near = get_close_matches(name, TRACKERS, n=1)
            raise UsageError(
                f"There is no tracker {name!r}.",
                hint=(f"Did you mean {near[0]!r}? " if near else "") + f"There are: {', '.join(TRACKERS)}.",
            )
    return chosen


def _not_installed(name: str, package: str | None) -> UsageError:
    return UsageError(
        f"The tracker {name} needs a package that is not installed: {package}.",
        hint=f"python -m pip install -c constraints.txt {PACKAGES.get(name, name)}",
    )


def _open(name: str, folder: Path, title: str, settings: Mapping[str, Any], begun: int) -> Tracker:
    try:
        return TRACKERS[name](folder, title, _plain(settings), begun)
    except ModuleNotFoundError as error:
        raise _not_installed(name, error.name) from None
    except Exception as error:
        raise HarnessError(
            f"The tracker {name} could not be started: {error}",
            hint=f"Mend that, or train without {name}: the run card keeps the loss curve in any case.",
        ) from error


def _plain(settings: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Settings as every tracker takes them: numbers, switches, and texts that are not too long."""
    return {
        name: value if isinstance(value, bool | int | float) else str(value)[:MAX_TEXT]
        for name, value in settings.items()
    }
