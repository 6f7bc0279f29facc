"""A topic: everything needed to write many different documents about one kind of event.

A document is an opening, facts that must be told, asides that lead away from them, and a closing. The
summary puts together facts that stand in different sentences, so neither the first sentence nor any
other single one will do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from contests.mini.generator.drawing import Draw
from contests.mini.generator.particles import fill

Values: TypeAlias = Mapping[str, str]
Slot: TypeAlias = Sequence[str] | Callable[[Draw, Values], str]
"""A list of words, or a function of the draw and of the slots drawn before it."""

MIN_SUMMARY, MAX_SUMMARY = 20, 60  # characters


@dataclass(frozen=True)
class Topic:
    """Patterns and word lists. Slots are drawn in the order they are written; a drawn word may itself
    name slots drawn before it.

    ``facts`` holds, for each fact, the ways of telling it; every fact is told once. ``asides`` are drawn
    without repetition, ``asides_per_document`` (low, high) of them. With ``in_order`` the facts keep
    their order (a conversation, an agenda) and asides fall between them. ``separator`` joins the parts.
    """

    name: str
    slots: Mapping[str, Slot]
    openings: tuple[str, ...]
    facts: tuple[tuple[str, ...], ...]
    asides: tuple[str, ...]
    closings: tuple[str, ...]
    summaries: tuple[str, ...]
    asides_per_document: tuple[int, int] = (3, 5)
    in_order: bool = False
    separator: str = " "

    @property
    def patterns(self) -> tuple[str, ...]:
        """Every sentence pattern of the topic."""
        told = tuple(pattern for fact in self.facts for pattern in fact)
        return (*self.openings, *told, *self.asides, *self.closings, *self.summaries)


@dataclass(frozen=True)
class Document:
    """One generated document: its parts in order (usually a sentence each), and its summary."""

    topic: str
    parts: tuple[str, ...]
    summary: str
    separator: str = field(default=" ")

    @property
    def text(self) -> str:
        """The document as it stands in the contest; a part may end in a newline to end a paragraph."""
        return re.sub(r" *\n *", "\n", self.separator.join(self.parts)).strip()


def draw_values(topic: Topic, draw: Draw) -> dict[str, str]:
    """One value for every slot of ``topic``."""
    values: dict[str, str] = {}
    for name, slot in topic.slots.items():
        word = slot(draw, values) if callable(slot) else draw.choose(slot)
        values[name] = fill(word, values)
    return values


def compose(topic: Topic, draw: Draw) -> Document:
    """Draw one document about ``topic``."""
    values = draw_values(topic, draw)
    facts = [draw.choose(ways) for ways in topic.facts]
    asides = draw.sample(topic.asides, draw.between(*topic.asides_per_document))
    middle = _interleave(facts, asides, draw) if topic.in_order else draw.shuffled([*facts, *asides])
    patterns = [draw.choose(topic.openings), *middle]
    if topic.closings:
        patterns.append(draw.choose(topic.closings))
    parts = tuple(fill(pattern, values) for pattern in patterns)
    return Document(topic.name, parts, fill(draw.choose(topic.summaries), values), topic.separator)


def _interleave(facts: Sequence[str], asides: Sequence[str], draw: Draw) -> list[str]:
    """``facts`` in their order, with ``asides`` anywhere between them."""
    result = list(facts)
    for aside in asides:
        result.insert(draw.below(len(result) + 1), aside)
    return result


# --- slots that are computed --------------------------------------------------------------------------


def number(low: int, high: int, step: int = 1, unit: str = "") -> Slot:
    """Whole numbers, with a comma between thousands: ``number(10, 90, 5, "명")``."""
    return lambda draw, values: f"{draw.between(low, high, step):,}{unit}"


def year(low: int, high: int) -> Slot:
    """A year such as ``2028년``."""
    return lambda draw, values: f"{draw.between(low, high)}년"


def won(low: int, high: int, step: int) -> Slot:
    """Sums of money as they are written in Korean: ``3억 5000만 원``, ``12만 원``, ``8500원``."""
    return lambda draw, values: korean_amount(draw.between(low, high, step), "원")


def korean_amount(amount: int, unit: str) -> str:
    """``amount`` grouped by 억 and 만: 350000000 -> ``3억 5000만 원``; below 10,000 ``8500원``."""
    eok, rest = divmod(amount, 100_000_000)
    man, ones = divmod(rest, 10_000)
    groups = [f"{eok}억" if eok else "", f"{man}만" if man else "", f"{ones}" if ones else ""]
    text = " ".join(group for group in groups if group)
    return f"{text}{unit}" if ones else f"{text} {unit}"


def other_than(name: str, words: Sequence[str]) -> Slot:
    """A word of ``words`` that is not the value of the slot ``name``."""
    return lambda draw, values: draw.choose([word for word in words if word != values[name]])


def none_of(names: Sequence[str], words: Sequence[str]) -> Slot:
    """A word of ``words`` that is the value of none of the slots ``names``."""
    return lambda draw, values: draw.choose([word for word in words if word not in {values[n] for n in names}])


def whole_number(values: Values, name: str) -> int:
    """The whole number in the slot ``name``, whatever its unit."""
    return int(re.sub(r"\D", "", values[name]))


def plus(name: str, low: int, high: int, step: int = 1, unit: str = "") -> Slot:
    """The whole number in the slot ``name`` plus ``low`` to ``high``."""
    return lambda draw, values: f"{whole_number(values, name) + draw.between(low, high, step):,}{unit}"


def person(draw: Draw, values: Values) -> str:
    """A full name that stands in no other slot of the document."""
    from contests.mini.generator.words import GIVEN_NAMES, SURNAMES

    taken = set(values.values())
    while (name := draw.choose(SURNAMES) + draw.choose(GIVEN_NAMES)) in taken:
        pass
    return name


def day(first_month: int = 1, last_month: int = 12) -> Slot:
    """A date such as ``4월 17일``."""
    return lambda draw, values: f"{draw.between(first_month, last_month)}월 {draw.between(1, 28)}일"


_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def days_after(name: str, low: int, high: int) -> Slot:
    """The date ``low`` to ``high`` days after (negative: before) the date in the slot ``name``."""

    def write(draw: Draw, values: Values) -> str:
        month, date = (int(digits) for digits in re.findall(r"\d+", values[name]))
        days = (sum(_MONTH_LENGTHS[: month - 1]) + date - 1 + draw.between(low, high)) % sum(_MONTH_LENGTHS)
        month = 1
        while days >= _MONTH_LENGTHS[month - 1]:
            days -= _MONTH_LENGTHS[month - 1]
            month += 1
        return f"{month}월 {days + 1}일"

    return write


def clock(first_hour: int, last_hour: int) -> Slot:
    """A time of day such as ``오전 10시`` or ``오후 2시 30분``; hours count from 0 to 23."""

    def write(draw: Draw, values: Values) -> str:
        hour = draw.between(first_hour, last_hour)
        half = " 30분" if draw.chance(0.4) else ""
        return f"{'오전' if hour < 12 else '오후'} {hour if hour <= 12 else hour - 12}시{half}"

    return write
