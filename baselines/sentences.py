"""Sentences of a Korean document, as far as they can be told by their ends."""

from __future__ import annotations

import re

# A sentence ends at . ? ! or … with any closing quotes or brackets after it, before white space; and at
# the end of a line. "3.5" and "오전 10시." within a list stay as they are.
_END = re.compile(r"(?<=[.?!…])[\"'”’)\]]*\s+|\n+")


def split_sentences(text: str) -> list[str]:
    r"""The sentences of ``text`` in order, stripped, none of them empty.

    >>> split_sentences("비가 왔다. 3.5mm였다.\n지수: 우산 있어?")
    ['비가 왔다.', '3.5mm였다.', '지수: 우산 있어?']
    """
    sentences = []
    start = 0
    for match in _END.finditer(text):
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def cut(text: str, characters: int) -> str:
    """``text`` in at most ``characters`` characters, cut between words where that keeps at least half.

    ``characters`` of 0 means no limit.
    """
    if characters <= 0 or len(text) <= characters:
        return text
    head = text[:characters]
    if text[characters].isspace():
        return head.rstrip()
    space = max(head.rfind(" "), head.rfind("\n"))
    return (head[:space] if space * 2 >= characters else head).rstrip()
