"""The run card: how a predictions file was made.

A baseline writes ``preds.run.json`` beside ``preds.csv``; ``submit`` picks it up, adds what ``--params``
and ``-p`` say of work done elsewhere, and stores the whole with the submission::

    {"baseline": "lead", "hyperparameters": {"sentences": 1}, "seconds": 0.4,
     "code": "1f2e3d4", "environment": {"python": "3.11.7", "matbogi": "0.1.0"},
     "data": {"train.csv": "9c…", "test.csv": "41…"}, "notes": {}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

JSON: TypeAlias = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


@dataclass(frozen=True, slots=True)
class Run:
    """How a predictions file was made. Every field may be unknown; ``hyperparameters`` may be empty."""

    hyperparameters: Mapping[str, JSON] = field(default_factory=dict)
    baseline: str | None = None
    seconds: float | None = None
    code: str | None = None
    environment: Mapping[str, JSON] = field(default_factory=dict)
    data: Mapping[str, JSON] = field(default_factory=dict)
    notes: Mapping[str, JSON] = field(default_factory=dict)
