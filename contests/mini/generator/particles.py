"""Korean particles: the form that fits the sound before it.

A pattern names a slot and, after a bar, the particle in the form it has after a consonant:
``{도서관|은}``, ``{날짜|이}``, ``{값|을}``, ``{곳|으로}``, ``{이름|이라고}``, ``{직책|이었다}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# After a consonant -> after a vowel. The longest entry that a particle begins with decides, so that
# "으로는" and "이라고" need no entries of their own.
_AFTER_VOWEL = {
    "은": "는",
    "이": "가",
    "을": "를",
    "과": "와",
    "아": "야",
    "으로": "로",
    "이라": "라",
    "이란": "란",
    "이나": "나",
    "이랑": "랑",
    "이며": "며",
    "이면": "면",
    "이고": "고",
    "이다": "다",
    "이든": "든",
    "이니": "니",
    "이지": "지",
    "이기": "기",
    "이자": "자",
    "이야": "야",
    "이에요": "예요",
    "이었": "였",
    "이어": "여",
}

_DIGITS_WITH_CONSONANT = "013678"  # 영 일 삼 육 칠 팔; a trailing 0 of 10, 100, … is 십, 백, 천, 만
_UNITS = {
    "km": "킬로미터",
    "cm": "센티미터",
    "mm": "밀리미터",
    "kg": "킬로그램",
    "mg": "밀리그램",
    "m": "미터",
    "g": "그램",
    "ml": "밀리리터",
    "L": "리터",
    "kW": "킬로와트",
    "kWh": "킬로와트시",
    "MW": "메가와트",
    "GB": "기가바이트",
    "%": "퍼센트",
    "℃": "도",
    "㎡": "제곱미터",
    "㎍": "마이크로그램",
    "ha": "헥타르",
}
_LETTERS_WITH_CONSONANT = "lmnrLMNR"  # 엘 엠 엔 아르(알)
_LETTERS_WITH_RIEUL = "lrLR"
_SILENT = re.compile(r"[\s'\"‘’“”『』「」《》〈〉()\[\].,!?…·]+$")


def final_consonant(text: str) -> tuple[bool, bool]:
    """Whether ``text``, read aloud, ends in a consonant, and whether that consonant is ㄹ.

    Numbers are read the Sino-Korean way, common units by their names, Latin letters by theirs.
    """
    spoken = _SILENT.sub("", text)
    unit = re.search(r"(?<=[\d\s])([A-Za-z㎡㎍]+)$|([%℃])$", spoken)
    if unit and unit.group() in _UNITS:
        spoken = _UNITS[unit.group()]
    last = spoken[-1:] or "아"
    if "가" <= last <= "힣":
        index = (ord(last) - ord("가")) % 28
        return index != 0, index == 8
    if last.isascii() and last.isdigit():
        return last in _DIGITS_WITH_CONSONANT, last in "178"
    return last in _LETTERS_WITH_CONSONANT, last in _LETTERS_WITH_RIEUL


def with_particle(word: str, particle: str) -> str:
    """``word`` followed by ``particle`` in the form its last sound asks for.

    >>> with_particle("서울", "으로"), with_particle("부산", "으로"), with_particle("대구", "은")
    ('서울로', '부산으로', '대구는')
    """
    stem = max((known for known in _AFTER_VOWEL if particle.startswith(known)), key=len, default=None)
    if stem is None:
        return word + particle
    consonant, rieul = final_consonant(word)
    if consonant and not (stem == "으로" and rieul):
        return word + particle
    return word + _AFTER_VOWEL[stem] + particle[len(stem) :]


_SLOT = re.compile(r"\{([^{}|]+)(?:\|([^{}]+))?\}")


def fill(pattern: str, values: Mapping[str, str]) -> str:
    """``pattern`` with every ``{slot}`` and ``{slot|particle}`` filled from ``values``.

    Raises:
        KeyError: the pattern names a slot that has no value.
    """
    return _SLOT.sub(lambda match: with_particle(values[match[1]], match[2] or ""), pattern)


def slots(pattern: str) -> list[str]:
    """The names of the slots in ``pattern``, in order."""
    return [match[1] for match in _SLOT.finditer(pattern)]
