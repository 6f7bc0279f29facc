"""Text from outside, made safe to print.

Team names, messages, file names and model output may hold escape sequences, markup, bidi overrides or
half a surrogate pair. ``safe`` lets none of it reach a terminal, and keeps Hangul whole: decomposed
syllables (NFD, as macOS writes them) are composed, so that columns line up.
"""

from __future__ import annotations

import unicodedata

_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
# Format characters that spell things: the zero-width joiners of emoji and of Indic scripts.
_KEPT = {"\u200d", "\u200c"}


def safe(text: str, width: int | None = None) -> str:
    """``text`` on one line, without control, format or surrogate characters, in NFC.

    White space of any kind becomes one space. ``width`` cuts after that many characters, with ``…``.
    """
    shown = "".join(_shown(character) for character in unicodedata.normalize("NFC", text))
    shown = " ".join(shown.split())
    return shown if width is None or len(shown) <= width else shown[: width - 1].rstrip() + "…"


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    if character in _KEPT or unicodedata.category(character) not in _HIDDEN_CATEGORIES:
        return character
    return ""


def without_formula(text: str) -> str:
    """``text`` so that a spreadsheet takes it for text: a leading ``=``, ``+``, ``-`` or ``@`` is quoted.

    Source: OWASP, "CSV Injection".
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
