"""From a path to text: opens a file that nobody vouches for, and decodes it.

Only regular files are opened, without following links and without blocking, and not one byte is read of
a file that is too large. Text is UTF-8 (with or without a byte order mark), UTF-16 with one, EUC-KR or
CP949, tried in this order; each but the first is announced. Guessing by statistics is left out: it was
wrong more often than trying in order.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from harness.faults import Findings

MAX_BYTES = 32 * 2**20
"""A file of 500 rows has some 100 kB; one of 10,000 rows with 1,000 characters each still fits."""

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF32_MARKS = (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")

_AS_CSV = "save the table as CSV (UTF-8) and hand that in."
_UNPACK = "unpack it and hand in the CSV file."

_WORKBOOK = ("an Excel workbook", f'In Excel choose "Save as", "CSV UTF-8": {_AS_CSV}')
# How the file begins, what it is, what to do. Where the beginning could be the id of a file without a
# header ("PAR1"), the pattern asks for more than the format's own signature.
_FORMATS: tuple[tuple[re.Pattern[bytes], str, str], ...] = tuple(
    (re.compile(beginning, re.DOTALL), name, hint)
    for beginning, name, hint in (
        (rb"PK\x03\x04", "a ZIP archive (or an Office document, a NumPy or PyTorch file)", f"Please {_UNPACK}"),
        (rb"\x1f\x8b", "a gzip archive", f"Please {_UNPACK}"),
        (rb"BZh[1-9]1AY&SY", "a bzip2 archive", f"Please {_UNPACK}"),
        (rb"\xfd7zXZ\x00", "an xz archive", f"Please {_UNPACK}"),
        (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", f"Please {_UNPACK}"),
        (rb"Rar!\x1a\x07", "a RAR archive", f"Please {_UNPACK}"),
        (rb"\x28\xb5\x2f\xfd", "a Zstandard archive", f"Please {_UNPACK}"),
        (rb".{257}ustar", "a tar archive", f"Please {_UNPACK}"),
        (
            rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "an old Excel workbook or another Office document",
            _WORKBOOK[1],
        ),
        (
            rb"PAR1[^ -~]",
            "a Parquet file",
            'pandas.read_parquet(path).to_csv("preds.csv", index=False) makes the CSV.',
        ),
        (
            rb"ARROW1\x00",
            "an Arrow file",
            'pandas.read_feather(path).to_csv("preds.csv", index=False) makes the CSV.',
        ),
        (rb"SQLite format 3\x00", "an SQLite database", f"Export it: {_AS_CSV}"),
        (rb"%PDF-", "a PDF document", f"From the program that made it, {_AS_CSV}"),
        (rb"\x89PNG\r", "a PNG picture", "Hand in the table, not a picture of it."),
        (rb"\xff\xd8\xff", "a JPEG picture", "Hand in the table, not a picture of it."),
        (rb"GIF8[79]a", "a GIF picture", "Hand in the table, not a picture of it."),
        (rb"\x89HDF\r", "an HDF5 file", f"Read it with pandas and {_AS_CSV}"),
        (rb"\x93NUMPY", "a NumPy array", f"Put it into a DataFrame with the ids and {_AS_CSV}"),
        (rb"\x80[\x02-\x05]", "a Python pickle", f"Load it where it was made and {_AS_CSV}"),
        (rb"\{\\rtf", "a Rich Text document", f"As plain text, {_AS_CSV}"),
    )
)

_TEXT_FORMATS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"[\[{]"),
        "JSON",
        'pandas.read_json(path, dtype=False).to_csv("preds.csv", index=False) makes the CSV; '
        "for JSON Lines add lines=True.",
    ),
    (
        re.compile(r"<"),
        "HTML or XML",
        "Was it downloaded? Then this may be a page that says why it could not be: open it in a browser.",
    ),
    (
        re.compile(r"version https://git-lfs\.github\.com/spec"),
        "a Git LFS pointer",
        "Fetch the file itself: git lfs pull.",
    ),
)
_KOREAN_WINDOWS = {"euc_kr": "EUC-KR", "cp949": 'CP949 (Excel\'s "CSV", the encoding of Korean Windows)'}
_REST_OF_LINE = re.compile(rb"[\x80-\xff][^\r\n]*")
_HANGUL = re.compile("[가-힣]")


# --- opening --------------------------------------------------------------------------------------


def read_bytes(path: str | Path, findings: Findings) -> bytes | None:
    """The whole of the regular file at ``path``; ``None`` where that is refused, with the fault added."""
    try:
        before = os.lstat(path)
        if not _is_regular(before, findings) or not _fits(before.st_size, findings):
            return None
        return _read_opened(path, findings)
    except FileNotFoundError:
        findings.add("E101", "There is no such file.")
    except PermissionError:
        findings.add("E101", "The file may not be read (permission denied).")
    except OSError as error:
        findings.add("E101", f"The file cannot be read: {error.strerror or 'unknown error'}.")
    except ValueError:
        findings.add("E101", "The path holds a NUL character, so there can be no such file.")
    return None


def _read_opened(path: str | Path, findings: Findings) -> bytes | None:
    # The path may have been exchanged since it was looked at: links are refused again by the system where
    # it can, a pipe does not block, and the opened file itself is what is judged.
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        opened = os.fstat(file.fileno())
        if not _is_regular(opened, findings):
            return None
        content = file.read(MAX_BYTES + 1)
    return content if _fits(len(content), findings) else None


def _is_regular(status: os.stat_result, findings: Findings) -> bool:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link, and links are not followed",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        return True
    findings.add("E102", f"This is {kinds.get(kind, 'a device')}.")
    return False


def _fits(size: int, findings: Findings) -> bool:
    if size <= MAX_BYTES:
        return True
    findings.add("E104", f"The file is larger than {MAX_BYTES // 2**20} MiB; nothing of it was parsed.")
    return False


# --- decoding -------------------------------------------------------------------------------------


def decode(content: bytes, max_lines: int, findings: Findings) -> str | None:
    """``content`` as text without a byte order mark; ``None`` where it is none, with the fault added."""
    if _is_other_format(content, findings):
        return None
    text = _decode(content, max_lines, findings)
    if text is None:
        return None
    if not text or text.isspace():
        findings.add("E103", "The file is empty.")
        return None
    return None if _is_other_text(text, findings) else text


def _is_other_format(content: bytes, findings: Findings) -> bool:
    name, hint = _format(content)
    if name:
        findings.add("E105", f"This is {name}, not a CSV file.", hint=hint)
    return bool(name)


def _format(content: bytes) -> tuple[str, str]:
    if content.startswith(b"PK\x03\x04") and b"xl/" in content:
        return _WORKBOOK
    for beginning, name, hint in _FORMATS:
        if beginning.match(content):
            return name, hint
    return "", ""


def _is_other_text(text: str, findings: Findings) -> bool:
    beginning = text[:1000].lstrip()
    for pattern, name, hint in _TEXT_FORMATS:
        if pattern.match(beginning):
            findings.add(
                "E107", f"This looks like {name}, not CSV: it begins with {beginning[:1]!r}.", hint=hint
            )
            return True
    return False


def _decode(content: bytes, max_lines: int, findings: Findings) -> str | None:
    if content.startswith(_UTF32_MARKS):
        findings.add("E108", "The file is UTF-32.")
        return None
    if content.startswith(_UTF16_MARKS):
        return _decode_utf16(content, max_lines, findings)
    if _has_nul(content, findings) or not _few_lines(_count_lines(content), max_lines, findings):
        return None
    begin = len(_UTF8_MARK) if content.startswith(_UTF8_MARK) else 0
    try:
        return str(memoryview(content)[begin:], "utf-8")
    except UnicodeDecodeError as error:
        return _decode_korean(content, begin + error.start, findings)


def _decode_utf16(content: bytes, max_lines: int, findings: Findings) -> str | None:
    try:
        text = content.decode("utf-16")
    except UnicodeDecodeError as error:
        findings.add("E108", f"The file begins as UTF-16, but byte {error.start:,} does not go on so.")
        return None
    nul = text.find("\0")
    if nul >= 0:
        findings.add("E106", f"Character {nul:,} is NUL.")
        return None
    lines = text.count("\n") + text.count("\r") - text.count("\r\n")
    if not _few_lines(lines, max_lines, findings):
        return None
    findings.add("N101", "Decoded as UTF-16.")
    return text


def _has_nul(content: bytes, findings: Findings) -> bool:
    nul = content.find(b"\0")
    if nul < 0:
        return False
    beginning = content[:1000]
    message = f"Byte {nul:,} is NUL."
    if max(beginning[0::2].count(0), beginning[1::2].count(0)) > len(beginning) // 8:
        message += " It looks like UTF-16 without its mark."
    findings.add("E106", message, line=_line_at(content, nul))
    return True


def _few_lines(lines: int, max_lines: int, findings: Findings) -> bool:
    if lines <= max_lines:
        return True
    findings.add("E111", f"{lines:,} lines; at most {max_lines:,} are read for this contest.")
    return False


def _count_lines(content: bytes) -> int:
    return content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")


def _line_at(content: bytes, offset: int) -> int:
    return _count_lines(content[:offset]) + 1


def _decode_korean(content: bytes, first_bad: int, findings: Findings) -> str | None:
    lines = _Lines.of(content)
    if lines.utf8 and lines.other:
        for bad in lines.other:
            findings.add(
                "E109", f"Byte {bad.byte:,} is not UTF-8, though {lines.utf8:,} other lines are.", line=bad.line
            )
        return None
    for encoding, name in _KOREAN_WINDOWS.items():
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        findings.add("N102", f"Decoded as {name}.")
        return text
    line = _line_at(content, first_bad)
    findings.add(
        "E108", f"Byte {first_bad:,} ({content[first_bad]:#04x}) fits no encoding that is read.", line=line
    )
    return None


class _BadLine(NamedTuple):
    line: int
    byte: int


class _Lines(NamedTuple):
    """The lines with bytes above 127: how many are UTF-8 with Hangul, and which are not UTF-8 at all.

    A line of EUC-KR or CP949 that happens to be UTF-8 as a whole, with Hangul, is as good as impossible:
    of its bytes, EA to ED would have to stand where Korean text has none. So both kinds in one file mean
    that it is damaged, and reading it as CP949 would turn the UTF-8 lines into nonsense.
    """

    utf8: int
    other: list[_BadLine]

    @classmethod
    def of(cls, content: bytes) -> _Lines:
        utf8, other = 0, []
        line, counted = 1, 0
        for match in _REST_OF_LINE.finditer(content):
            line += _count_lines(content[counted : match.start()])
            counted = match.start()
            try:
                utf8 += bool(_HANGUL.search(match.group().decode("utf-8")))
            except UnicodeDecodeError as error:
                other.append(_BadLine(line, match.start() + error.start))
        return cls(utf8, other)
