"""How long summaries came out, beside the training labels: a histogram to keep and to look at.

Length decides much of an F1, so it is the first thing to look at after a run::

    characters  500 summaries               1,500 training labels
       20 - 29                         0%   ███                  9%
       30 - 39  █████████              24%  ████████████████████ 51%
       40 +     ████████████████████   76%  ████████████████     40%
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

WIDTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Characters that a line of the histogram may stand for."""
LINES = 14
"""Lines of the histogram at most, the open one at its end included."""
BAR = 20  # characters of the longest bar


def histogram(summaries: Sequence[int], labels: Sequence[int]) -> dict[str, Any]:
    """Counts of both kinds of lengths, in characters, by the same steps.

    ``from`` holds where each step begins. The last one is open: it holds whatever is longer, so that one
    answer that ran away does not press all others into one line.
    """
    lengths = sorted([*summaries, *labels])
    if not lengths:
        return {"from": [], "summaries": [], "labels": []}
    shortest, long = lengths[0], lengths[(len(lengths) - 1) * 98 // 100]
    width = next((width for width in WIDTHS if long // width - shortest // width < LINES - 1), WIDTHS[-1])
    first = shortest // width
    count = min(long // width - first, LINES - 2) + 1 + (lengths[-1] > long)
    starts = [(first + step) * width for step in range(count)]
    return {"from": starts, "summaries": _counts(summaries, starts), "labels": _counts(labels, starts)}


def _counts(lengths: Sequence[int], starts: Sequence[int]) -> list[int]:
    """How many of ``lengths`` lie in each step; the last step has no end."""
    ends = [*starts[1:], float("inf")]
    return [sum(start <= length < end for length in lengths) for start, end in zip(starts, ends, strict=True)]


def histogram_lines(found: Mapping[str, Any], *, bars: bool) -> Iterator[str]:
    """``found`` as text, in shares of each kind. ``bars``: block characters, which not every console has."""
    starts, counts = found["from"], (found["summaries"], found["labels"])
    totals = [sum(each) for each in counts]
    if not all(totals):
        return
    shares = [[count / total for count in each] for each, total in zip(counts, totals, strict=True)]
    top, mark = max(map(max, shares)), "\u2588" if bars else "#"
    heads = (f"{totals[0]:,} summaries", f"{totals[1]:,} training labels")
    yield f"characters   {heads[0]:{BAR}}        {heads[1]}"
    for place, start in enumerate(starts):
        last = place + 1 == len(starts)
        steps = f"{start:5,} +     " if last else f"{start:5,} -{starts[place + 1] - 1:5,}"
        columns = [
            f"{mark * _bar(each[place], top):{BAR}} {_percent(each[place]):>4}" for each in shares
        ]  # fmt: skip
        yield f"{steps} {'   '.join(columns)}".rstrip()


def _bar(share: float, top: float) -> int:
    """Characters of a bar; what is there at all has one."""
    return max(round(BAR * share / top), int(share > 0))


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"
