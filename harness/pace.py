"""How fast a long run goes, and when it will be done.

``Stages`` is told what is done; it keeps a pace for every stage (training, scoring dev, decoding), so that
a stage that pauses for another goes on with the speed it had.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

MEMORY_SECONDS = 30.0
"""How far back a speed looks: what is older counts for less and less."""
MEMORY_REPORTS = 5
"""It looks back so many reports at least, where each takes long."""

_STAGE = re.compile(r"([a-z][a-z ]{0,30}):(?: +(.*))?", re.DOTALL)


@dataclass
class Pace:
    """The speed of one stage: an average of its steps' seconds, the recent ones weighing most.

    ``away`` is time that other stages took in between; it is shared out over all steps, because it will
    come again (dev is scored every so many steps) but not at every step.
    """

    began: int
    done: int
    total: int
    steps: float = 0.0
    seconds: float = 0.0
    away: float = 0.0

    def advance(self, done: int, seconds: float) -> None:
        """``done`` has been reached, ``seconds`` of this stage's own time after the report before."""
        kept = math.exp(-min(seconds / MEMORY_SECONDS, 1 / MEMORY_REPORTS))
        self.steps = self.steps * kept + (done - self.done)
        self.seconds = self.seconds * kept + seconds
        self.done = done

    @property
    def seconds_left(self) -> float | None:
        """Time to the end at this pace; ``None`` while nothing is known."""
        if self.steps <= 0:
            return None
        return (self.total - self.done) * (self.seconds / self.steps + self.away / (self.done - self.began))


@dataclass
class Stages:
    """All stages of a run; ``stage`` is the present one, ``pace`` its pace, ``note`` what it says."""

    stage: str = ""
    note: str = ""
    pace: Pace | None = None
    _paces: dict[str, Pace] = field(default_factory=dict)
    _last: float | None = None

    def report(self, done: int, total: int, note: str, now: float) -> None:
        """``done`` of ``total`` at the time ``now`` in seconds; ``note`` may begin with ``stage:``."""
        self.stage, self.note = split_stage(note)
        elapsed = 0.0 if self._last is None else now - self._last
        self._last = now
        for stage, other in self._paces.items():
            if stage != self.stage:
                other.away += elapsed
        pace = self._paces.get(self.stage)
        if pace is None or done < pace.done or total != pace.total:
            # What was done before the first report (by a run that is resumed, say) tells nothing of speed.
            pace = self._paces[self.stage] = Pace(done, done, total)
        else:
            pace.advance(done, elapsed)
        self.pace = pace

    def seconds_left(self, now: float) -> float | None:
        """Time to the end of the present stage, counted down since the last report."""
        left = self.pace.seconds_left if self.pace else None
        return None if left is None or self._last is None else max(0.0, left - (now - self._last))


def split_stage(note: str) -> tuple[str, str]:
    """``training: loss 1.2`` in its stage and the rest; a note without a stage is all rest."""
    found = _STAGE.fullmatch(note)
    return (found[1], found[2] or "") if found else ("", note)


def clock(seconds: float | None) -> str:
    """A time to go: ``0:07``, ``3:24``, ``1:02:03``, ``2 d 3 h``; ``-:--`` where it is not known."""
    if seconds is None:
        return "-:--"
    whole = math.ceil(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
