"""From a chat model's answer to a summary: what models put around it is taken off, what is too long is cut."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from baselines.sentences import cut as cut_between_words
from baselines.sentences import split_sentences

_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
# Some templates open the block in the prompt, so that the answer only closes it.
_THOUGHT_END = re.compile(r"\A.*</(?:think|thinking|thought|reasoning)>", re.DOTALL | re.IGNORECASE)

_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$", re.MULTILINE)
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?|[-*+•][ \t]+)", re.MULTILINE)
_NUMBER = re.compile(r"^[ \t]*\d{1,2}[.)][ \t]+(?=\S)", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*$", re.MULTILINE)
_STRONG = re.compile(r"(\*\*\*|\*\*|__)(?=\S)(.+?)(?<=\S)\1", re.DOTALL)
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]+?)(?<=\S)\*(?![\w*])")
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"!?\[([^\]\n]+)\]\([^)\s]*\)")

_WORDS = (
    r"(?:한\s*줄|한\s*문장|최종|짧은|간단(?:한|히)?|핵심|수정(?:된|한)?|다시\s*쓴|문서|글|대화|회의|뉴스|기사)"
)
_LABEL = re.compile(
    rf"\A\s*[\[(<【]?\s*(?:(?:{_WORDS}\s*)*(?:요약문?|정리|답변|답)(?:\s*결과)?|(?:one[- ]line |short |final )?"
    r"(?:summary|answer|tl;?dr))\s*(?:\(\s*\d+\s*자[^)]*\)\s*)?(?:[\])>】]\s*[:：]?|[:：])\s*",
    re.IGNORECASE,
)
_PREAMBLE = re.compile(
    r"\A[^\n]{0,80}?(?:(?:요약|정리|summar)[^\n]{0,40}?[:：]"
    r"|(?:요약|정리)(?:문|본|한 (?:것|내용|결과|글|문장))?\s*"
    r"(?:입니다|이에요|해\s*드렸습니다|해\s*드리겠습니다|해\s*드릴게요)[.!])"
    r"[ \t]*\n+(?=\S)",
    re.IGNORECASE,
)
_COUNT = re.compile(r"\s*[(\[]\s*(?:공백\s*포함\s*)?(?:총\s*)?\d+\s*(?:글자|자)\s*[)\]]\s*\Z")

_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』", "«": "»", "《": "》"}


def strip_thoughts(text: str) -> str:
    """``text`` without ``<think>`` blocks; one that never ends swallows the rest."""
    return _THOUGHT_END.sub("", _THOUGHT.sub("", text))


def strip_markdown(text: str) -> str:
    """``text`` without fences, headings, bullets, rules, bold, italics, code marks and link targets."""
    for pattern in (_FENCE, _RULE, _LINE_MARK):
        text = pattern.sub("", text)
    if len(_NUMBER.findall(text)) > 1:  # one alone may be a date: "10. 29 참사"
        text = _NUMBER.sub("", text)
    for pattern, group in ((_STRONG, r"\2"), (_EMPHASIS, r"\1"), (_CODE, r"\1"), (_LINK, r"\1")):
        text = pattern.sub(group, text)
    return text


def strip_labels(text: str) -> str:
    """``text`` without "요약:" and its like, a first line that only announces, and a count at the end."""
    before = None
    while before != text:
        before = text
        text = _LABEL.sub("", _PREAMBLE.sub("", text.strip(), count=1), count=1)
    return _COUNT.sub("", text)


def strip_quotes(text: str) -> str:
    """``text`` without quotes around the whole of it; quotes within it stay."""
    text = text.strip()
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        inner = text[1:-1]
        if text[0] in inner or text[-1] in inner:  # '"가" 나 "다"' begins and ends with quotes of its own
            break
        text = inner.strip()
    return text


STEPS: dict[str, Callable[[str], str]] = {
    "thoughts": strip_thoughts,
    "markdown": strip_markdown,
    "labels": strip_labels,
    "quotes": strip_quotes,
}
"""What can be taken off, in the order in which it is done."""


def clean(answer: str, steps: Sequence[str]) -> str:
    """``answer`` on one line in NFC after ``steps``, names of ``STEPS``.

    Labels and quotes are nested in either order (``"요약: …"``, ``요약: "…"``), so all is done until nothing
    changes.
    """
    chosen = [step for name, step in STEPS.items() if name in steps]
    text, before = unicodedata.normalize("NFC", answer), None
    while before != text:
        before = text
        for step in chosen:
            text = step(text)
    return " ".join(text.split())


def shorten(text: str, characters: int) -> str:
    """``text`` in at most ``characters``: whole sentences if they fill half of that, else whole eojeol.

    A first eojeol that is longer than that is cut within.
    """
    if len(text) <= characters:
        return text
    kept = ""
    for sentence in split_sentences(text):
        longer = f"{kept} {sentence}".strip()
        if len(longer) > characters:
            break
        kept = longer
    if len(kept) * 2 >= characters:
        return kept
    head, space = text[:characters], text[: characters + 1].rfind(" ")
    return head[:space].rstrip() if space > 0 else cut_between_words(text, characters)
