"""Which id was probably meant by one that is not in the list.

Nothing here mends an id: a summary under the wrong id would be scored against another document. It only
finds what to say, such as that ``7`` was ``007`` before a spreadsheet opened the file.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from harness.faults import excerpt

_MAX_LENGTH = 64
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(?:,[0-9]{3})*(?:\.[0-9]{0,40})?(?:[eE][+-]?[0-9]{1,5})?")
_SCIENTIFIC = re.compile(r"[+-]?[0-9](?:\.[0-9]+)?[eE][+-]?[0-9]+")
_DATE = re.compile(
    r"[0-9]{4}[-./][0-9]{1,2}[-./][0-9]{1,2}(?: [0-9:.]+)?"
    r"|[0-9]{1,2}[-/][0-9]{1,2}(?:[-/][0-9]{2,4})?"
    r"|[0-9]{1,2}-[A-Z][a-z]{2}(?:-[0-9]{2})?|[A-Z][a-z]{2}-[0-9]{1,2}"
    r"|[0-9]{1,2}월 ?[0-9]{1,2}일"
)
_QUOTES = "\"'`‘’“”「」"
_SUGGESTIONS, _COMPARED = 10, 1000


class Guess(NamedTuple):
    """What an unknown id probably is: the code of the fault, what to say, the ids that may be meant."""

    code: str
    message: str
    meant: tuple[str, ...]


class Lookalikes:
    """Finds the ids of a contest that an unknown one resembles."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._spelt: defaultdict[str, list[str]] = defaultdict(list)
        self._numbers: defaultdict[Decimal, list[str]] = defaultdict(list)
        for id in ids:
            if len(id) <= _MAX_LENGTH:
                self._spelt[_spelling(id)].append(id)
                number = _number(id)
                if number is not None:
                    self._numbers[number].append(id)

    def guess(self, stranger: str) -> Guess | None:
        """What ``stranger``, which is no id, was before it was altered; ``None`` where nothing tells."""
        if len(stranger) > _MAX_LENGTH:
            return None
        spelt = tuple(self._spelt.get(_spelling(stranger), ()))
        if spelt:
            how = _difference(stranger, spelt[0])
            return Guess("E215", f"{excerpt(stranger)} is {_shown(spelt)} {how}.", spelt)
        number = _number(stranger)
        equal = () if number is None else tuple(self._numbers.get(number, ()))
        if equal:
            return Guess("E214", f"{excerpt(stranger)} was probably {_shown(equal)}.", equal)
        if _SCIENTIFIC.fullmatch(stranger):
            return Guess(
                "E214", f"{excerpt(stranger)} looks like a number that a spreadsheet has shortened.", ()
            )
        if _DATE.fullmatch(stranger):
            return Guess("E214", f"{excerpt(stranger)} looks like a date that a spreadsheet has made.", ())
        return None


def closest(strangers: Sequence[str], missing: Sequence[str]) -> dict[str, str]:
    """For the first few of ``strangers``, the missing id each resembles most, if any does."""
    known = [id for id in missing[:_COMPARED] if len(id) <= _MAX_LENGTH]
    found: dict[str, str] = {}
    for stranger in strangers[:_SUGGESTIONS]:
        if len(stranger) <= _MAX_LENGTH:
            found.update((stranger, id) for id in difflib.get_close_matches(stranger, known, 1, 0.75))
    return found


def _shown(ids: Sequence[str]) -> str:
    return " or ".join(excerpt(id, 24) for id in ids[:3])


def _number(id: str) -> Decimal | None:
    # Not int or float: 1e99999 must cost nothing, and long numbers must stay exact.
    text = id.strip()
    return Decimal(text.replace(",", "")) if _NUMBER.fullmatch(text) else None


def _visible(id: str) -> str:
    return "".join(c for c in id if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf"))


def _spelling(id: str) -> str:
    return _visible(unicodedata.normalize("NFKC", id)).strip(_QUOTES).casefold()


def _difference(stranger: str, meant: str) -> str:
    if unicodedata.normalize("NFC", stranger) == unicodedata.normalize("NFC", meant):
        return "in decomposed letters (NFD)"
    if _visible(stranger) == _visible(meant):
        return "with spaces or invisible characters"
    if stranger.strip(_QUOTES) == meant:
        return "in quotation marks"
    if stranger.casefold() == meant.casefold():
        return "in another letter case"
    if unicodedata.normalize("NFKC", stranger) == meant:
        return "in full-width characters"
    return "in other characters"
