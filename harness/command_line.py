"""A command as a line to type again: quoted so that a shell reads back the very same words."""

from __future__ import annotations

import os
import shlex
import subprocess
import unicodedata
from collections.abc import Sequence

_NAMED = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\\": r"\\", "'": r"\'"}
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def command_line(words: Sequence[str], *, windows: bool = os.name == "nt") -> str:
    r"""``words`` as one line for a POSIX shell, or for Windows.

    A word with control or format characters is written as ``$'…\n…'`` (POSIX.1-2024; bash, zsh and ksh
    have long had it), so that nothing but its letters reaches the terminal.
    """
    return subprocess.list2cmdline(words) if windows else " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if not any(unicodedata.category(character) in _HIDDEN for character in word):
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if unicodedata.category(character) not in _HIDDEN:
        return character
    # Octal ends after three digits; \x would go on into a following letter. A byte of a file name that is
    # no UTF-8 is a lone surrogate here, and becomes that byte again.
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))
