"""Files that break readers, made by code: what real submissions did wrong, and what an attacker would try.

Each says what must come of it: refused with (at least) certain codes, or read with exactly certain
summaries and notices. Nothing else may happen.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import pickle
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

SUMMARIES: Mapping[str, str] = {
    "xAqIHdvEZG": "해솔시가 낡은 수도관을 바꾼다.",
    "007": "물가, 금리, 환율이 함께 올랐다.",
    "Tb3mRk91Qw": '시장은 "올해 안에"라고 답했다.',
    "12": "도서관이 월요일에도\n문을 연다.",
    "3-4": "NA",
    "Zz9": "늘봄중 학생이 상을 받았다.",
    "1E5": "null",
    "k2": "딸기 값이 3,500원으로 내렸다.",
}
"""What the good file says: the ids of the contest, and a summary each. Some look like other things."""

IDS = tuple(SUMMARIES)


def write(
    rows: Mapping[str, str] = SUMMARIES,
    *,
    header: tuple[str, ...] | None = ("id", "summary"),
    delimiter: str = ",",
    end: str = "\n",
    quoting: int = csv.QUOTE_MINIMAL,
) -> str:
    """A file as a CSV library writes it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    if header:
        writer.writerow(header)
    writer.writerows(rows.items())
    return buffer.getvalue()


GOOD = write()


@dataclass(frozen=True)
class HostileFile:
    """One file: its bytes, and what must come of it.

    ``refused`` holds codes that must be among the faults; where it is empty the file is read, and gives
    ``summaries`` and exactly the codes in ``notices``.
    """

    name: str
    make: Callable[[], bytes]
    refused: frozenset[str] = frozenset()
    notices: frozenset[str] = frozenset()
    summaries: Mapping[str, str] = field(default_factory=lambda: SUMMARIES)


def _text(make: str | Callable[[], str], encoding: str = "utf-8") -> Callable[[], bytes]:
    return lambda: (make if isinstance(make, str) else make()).encode(encoding)


def refused(name: str, codes: str, make: str | Callable[[], bytes]) -> HostileFile:
    """A file that must be refused with at least these codes."""
    return HostileFile(name, _text(make) if isinstance(make, str) else make, frozenset(codes.split()))


def read(
    name: str, notices: str, make: str | Callable[[], bytes], summaries: Mapping[str, str] = SUMMARIES
) -> HostileFile:
    """A file that must be read, with exactly these notices."""
    content = _text(make) if isinstance(make, str) else make
    return HostileFile(name, content, frozenset(), frozenset(notices.split()), summaries)


def kept(name: str, notices: str, rows: Mapping[str, str]) -> HostileFile:
    """A well-formed file of odd summaries, each of which must come back as it is."""
    return HostileFile(name, _text(lambda: write(rows)), frozenset(), frozenset(notices.split()), rows)


def changed(**replaced: str) -> dict[str, str]:
    """The good summaries, with others for some ids."""
    return {**SUMMARIES, **replaced}


def _zip(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


_NFD = unicodedata.normalize("NFD", GOOD)
_INDEX = "\n".join(
    f"{number},{line}" if number >= 0 else f",{line}"
    for number, line in enumerate(write(changed(**{"12": "도서관이 문을 연다."})).splitlines(), -1)
)
_ONE_LINE = changed(**{"12": "도서관이 문을 연다."})
_FEW = dict(list(SUMMARIES.items())[:5])
_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

ENCODINGS = (
    read("utf-8", "", GOOD),
    read("utf-8 with mark", "", _text(GOOD, "utf-8-sig")),
    read("utf-16 little endian", "N101", _text(GOOD, "utf-16")),
    read("utf-16 big endian", "N101", lambda: b"\xfe\xff" + GOOD.encode("utf-16-be")),
    read("cp949", "N102", _text(GOOD, "cp949")),
    read("cp949 beyond euc-kr", "N102", lambda: GOOD.replace("낡은", "햏햏").encode("cp949"), changed(xAqIHdvEZG="해솔시가 햏햏 수도관을 바꾼다.")),
    refused("utf-16 without mark", "E106", _text(GOOD, "utf-16-le")),
    refused("utf-32", "E108", _text(GOOD, "utf-32")),
    refused("half cp949", "E109", lambda: GOOD.encode() + "Zz9,늘봄중\n".encode("cp949")),
    refused("one byte lost", "E109", lambda: GOOD.encode().replace("낡은".encode(), "낡은".encode()[:-1], 1)),
    refused("overlong slash", "E109", lambda: GOOD.encode().replace(b"3-4", b"3\xc0\xaf4")),
    refused("surrogate in utf-8", "E109", lambda: GOOD.encode().replace(b"NA", b"\xed\xa0\x80")),
    refused("random bytes", "E106", lambda: bytes(range(256)) * 20),
    refused("latin-1 letters", "E108", lambda: b"id,summary\nk2,\xff\xfe\xfd caf\xe9 na\xefve \x80\xff\n"),
    refused("NUL in a summary", "E106", GOOD.replace("낡은", "낡\0은")),
    refused("NUL at the end", "E106", GOOD + "\0" * 512),
    read("decomposed letters", "N301", _NFD),
    read(
        "utf-8 read as latin-1 and saved again", "W304 W306",
        lambda: write(changed(Zz9=SUMMARIES["Zz9"].encode().decode("latin-1"))).encode(),
        changed(Zz9=SUMMARIES["Zz9"].encode().decode("latin-1")),
    ),
    kept("replacement characters", "W305", changed(Zz9="늘봄중 학\ufffd\ufffd 상")),
)  # fmt: skip

SHAPES = (
    read("windows line ends", "", write(end="\r\n"), SUMMARIES),
    read("carriage returns only", "", write(_ONE_LINE, end="\r"), _ONE_LINE),
    read("mixed line ends", "", write(_ONE_LINE).replace("\n007", "\r\n007").replace("\nZz9", "\rZz9"), _ONE_LINE),
    read("no newline at the end", "", GOOD.rstrip("\n")),
    read("everything quoted", "", write(quoting=csv.QUOTE_ALL)),
    read("semicolons", "N103", write(delimiter=";")),
    read("tabs", "N103", write(delimiter="\t")),
    read("blank lines", "N104", write(_ONE_LINE).replace("\n", "\n\n"), _ONE_LINE),
    read("rows of empty fields at the end", "N104", GOOD + ",\n,\n"),
    kept("unicode line separators stay text", "W304", changed(Zz9="하나\u2028둘\x85셋")),
    kept("vertical tab and form feed stay text", "W304", changed(Zz9="하나\x0b둘\x0c셋")),
    refused("quote closed by a later row's", "E114", GOOD.replace('올랐다."', "올랐다.")),
    refused("quote never closed", "E113", GOOD.replace('내렸다."', "내렸다.")),
    refused("quote within a quoted field", "E114", GOOD.replace('""올해 안에""', '"올해 안에"')),
    refused("backslash escapes", "E114", GOOD.replace('""올해 안에""', '\\"올해 안에\\"')),
    refused("space before the quote", "E115", GOOD.replace('007,"', '007, "')),
    refused("unquoted comma", "E116", GOOD.replace('"물가, 금리, 환율이 함께 올랐다."', "물가, 금리, 환율이 함께 올랐다.")),
    refused("unquoted newline", "E116", GOOD.replace('"도서관이 월요일에도\n문을 연다."', "도서관이 월요일에도\n문을 연다.")),
    refused("a field too few", "E116", GOOD.replace("Zz9,늘봄중", "Zz9 늘봄중")),
    refused("a whole line quoted", "E202", "".join(f'"{line.rstrip()}"\n' for line in write(_ONE_LINE).splitlines())),
    refused("commas and semicolons mixed", "E116", write(_ONE_LINE).replace("Zz9,", "Zz9;")),
    refused("pipes", "E202", write(_ONE_LINE, delimiter="|")),
    refused("header alone", "E117", "id,summary\n"),
    refused("empty", "E103", ""),
    refused("white space", "E103", " \n\t\n \r\n"),
    refused("a mark and nothing else", "E103", lambda: b"\xef\xbb\xbf"),
    refused("commas only", "E103", ",,,\n,,,\n"),
    refused("two files joined", "E211 E213", GOOD + GOOD),
)  # fmt: skip

HEADERS = (
    read("columns the other way round", "N201", "summary,id\n" + "".join(
        f'"{text.replace(chr(34), chr(34) * 2)}",{id}\n' for id, text in SUMMARIES.items())),
    read("upper case names", "N204", write(header=("ID", "Summary"))),
    read("spaces around names", "N204", write(header=(" id", "summary "))),
    read("full-width names", "N204", write(header=("ｉｄ", "summary"))),
    read("a second mark before id", "N204", "\ufeff\ufeff" + GOOD),
    read("pandas index", "N202", _INDEX, _ONE_LINE),
    read("pandas index with a name", "N202", "Unnamed: 0" + _INDEX, _ONE_LINE),
    read("the documents too", "N203", "id,text,summary\n" + "".join(
        f'{id},본문,"{text.replace(chr(34), chr(34) * 2)}"\n' for id, text in SUMMARIES.items())),
    read("an empty column at the end", "N203", "id,summary,\n" + "".join(
        f'{id},"{text.replace(chr(34), chr(34) * 2)}",\n' for id, text in SUMMARIES.items())),
    refused("no header", "E201", write(header=None)),
    refused("misnamed summary", "E202", write(header=("id", "prediction"))),
    refused("korean names", "E202", write(header=("아이디", "요약"))),
    refused("names swapped", "E205", write(header=("summary", "id"))),
    refused("summary twice", "E203", "id,summary,summary\n" + "".join(f"{id},하나,둘\n" for id in IDS)),
    refused("a column of scores", "E204", "id,summary,score\n" + "".join(f"{id},하나,0.5\n" for id in IDS)),
    refused("seventeen columns", "E112", "id,summary" + ",x" * 15 + "\n" + "".join(f"{id},하나" + ",x" * 15 + "\n" for id in IDS)),
)  # fmt: skip

ROWS = (
    read("rows in another order", "N206", write({id: SUMMARIES[id] for id in reversed(IDS)})),
    read("spaces around ids", "N205", GOOD.replace("\nZz9,", "\n Zz9 ,")),
    refused("an id twice, equal", "E211", GOOD + "Zz9,늘봄중 학생이 상을 받았다.\n"),
    refused("an id twice, different", "E211", GOOD + "Zz9,다른 요약\n"),
    refused("three missing", "E212", write(_FEW)),
    refused("one unknown", "E213", GOOD + "nobody,누구의 요약인가\n"),
    refused("shifted by one", "E213 E212", write({f"{id}x": text for id, text in SUMMARIES.items()} | {"k2": "하나"})),
    refused("leading zeros eaten", "E214", GOOD.replace("\n007,", "\n7,")),
    refused("made a float", "E214", GOOD.replace("\n12,", "\n12.0,")),
    refused("made scientific", "E214", GOOD.replace("\n1E5,", "\n1.00E+05,")),
    refused("made a date", "E214", GOOD.replace("\n3-4,", "\n3월 4일,")),
    refused("another case", "E215", GOOD.replace("xAqIHdvEZG", "XAQIHDVEZG")),
    refused("full-width digits", "E215", GOOD.replace("\n007,", "\n００７,")),
    refused("an invisible character in an id", "E215", GOOD.replace("Zz9", "Zz\u200b9")),
    refused("a row without id", "E216", GOOD + ",주인 없는 요약\n"),
    refused("another contest", "E217", write({f"doc{number}": "요약" for number in range(8)})),
    refused("an apostrophe before an id", "E215", GOOD.replace("\n007,", "\n'007,")),
)  # fmt: skip

TEXTS = (
    kept("one empty summary", "W301", changed(Zz9="")),
    kept("blanks only", "W301", changed(Zz9="  \t ")),
    kept("zero-width only", "W301 W304", changed(Zz9="\u200b\u200b")),
    refused("all empty", "E301", write(dict.fromkeys(IDS, ""))),
    kept("nothing is missing data", "", dict(zip(IDS, ("NA", "nan", "None", "null", "N/A", "#N/A", "NULL", "-"), strict=True))),
    kept("numbers and dates stay text", "", dict(zip(IDS, ("007", "1e5", "3-4", "1,000", "0.10", "TRUE", "2026-11-24", "∞"), strict=True))),
    kept("formulas stay text", "", changed(Zz9='=HYPERLINK("http://x","y")', k2="@SUM(1)")),
    kept("colours and a clipboard sequence", "W304", changed(Zz9="\x1b[31m빨강\x1b]52;c;ZXZpbA==\x07")),
    kept("text turned round", "W304", changed(Zz9="\u202e거꾸로\u202c")),
    kept("emoji of many code points", "", changed(Zz9="👨\u200d👩\u200d👧 가족 🇰🇷")),
    kept("leading and trailing spaces", "", changed(Zz9="  앞뒤 ")),
    kept("markup", "", changed(Zz9="[bold]<script>alert(1)</script>[/]")),
    kept("very long", "W302", changed(Zz9="가나다라 " * 300)),
    refused("too long", "E302", write(changed(Zz9="가나다라 " * 3_000))),
    refused("piled-up marks", "E303", write(changed(Zz9="가" + "\u0301" * 200))),
    kept("all the same", "W303", dict.fromkeys(IDS, "다음은 요약입니다.")),
    kept("curly quotation marks around each", "W307", {id: f"“{number}번 요약”" for number, id in enumerate(IDS)}),
)  # fmt: skip

KINDS = (
    refused("a workbook", "E105", lambda: _zip("xl/workbook.xml", b"<workbook/>")),
    refused("a zip", "E105", lambda: _zip("preds.csv", GOOD.encode())),
    refused("a gzip", "E105", lambda: gzip.compress(GOOD.encode())),
    refused("an old workbook", "E105", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512)),
    refused("a parquet file", "E105", lambda: b"PAR1\x15\x04" + bytes(300) + b"PAR1"),
    refused("a pickle", "E105", lambda: pickle.dumps(dict(SUMMARIES))),
    refused("a database", "E105", lambda: b"SQLite format 3\x00" + bytes(100)),
    refused("a picture", "E105", lambda: _PNG),
    refused("a PDF", "E105", lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
    refused("JSON", "E107", lambda: json.dumps([{"id": id, "summary": text} for id, text in SUMMARIES.items()]).encode()),
    refused("JSON Lines", "E107", lambda: "\n".join(json.dumps({"id": id, "summary": text}) for id, text in SUMMARIES.items()).encode()),
    refused("a web page", "E107", "<!DOCTYPE html>\n<html><body>404</body></html>\n"),
    refused("a Git LFS pointer", "E107", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
    refused("prose", "E202", "안녕하세요. 요약 파일을 보냅니다.\n잘 부탁드립니다.\n"),
)  # fmt: skip

HOSTILE: tuple[HostileFile, ...] = (*ENCODINGS, *SHAPES, *HEADERS, *ROWS, *TEXTS, *KINDS)

# --- bombs: small to make, expensive to read ----------------------------------------------------------

Chunks = Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Bomb:
    """A file that is written piece by piece, and the codes one of which must refuse it."""

    name: str
    chunks: Chunks
    refused: frozenset[str]


def _repeat(piece: bytes, times: int, before: bytes = b"id,summary\n", after: bytes = b"") -> Chunks:
    def chunks() -> Iterator[bytes]:
        yield before
        whole, rest = divmod(times, max(1, 1_000_000 // len(piece)))
        block = piece * max(1, 1_000_000 // len(piece))
        for _ in range(whole):
            yield block
        yield piece * rest + after

    return chunks


def _numbered(rows: int, line: str) -> Chunks:
    def chunks() -> Iterator[bytes]:
        yield b"id,summary\n"
        for begin in range(0, rows, 10_000):
            yield "".join(line.format(number) for number in range(begin, min(begin + 10_000, rows))).encode()

    return chunks


def bomb(name: str, codes: str, chunks: Chunks) -> Bomb:
    """A bomb that one of ``codes`` must refuse."""
    return Bomb(name, chunks, frozenset(codes.split()))


_MB = 2**20

BOMBS: tuple[Bomb, ...] = (
    bomb("a line of 200 MB", "E104", _repeat(b"x" * 1000, 200_000)),
    bomb("a line of 31 MB", "E110", _repeat(b"x", 31 * _MB)),
    bomb("a quoted field of 31 MB", "E113 E110", _repeat(b"x", 31 * _MB, b'id,summary\nk2,"')),
    bomb("a quote that never closes over many lines", "E113", _repeat(b"k2 \xea\xb0\x80\n", 90_000, b'id,summary\nk2,"')),
    bomb("a million columns in the header", "E110 E112", _repeat(b",x", 1_000_000, b"id,summary")),
    bomb("sixty thousand columns in the header", "E112", _repeat(b",x", 60_000, b"id,summary")),
    bomb("fifteen million commas in a row", "E110", _repeat(b",", 15_000_000)),
    bomb("a hundred thousand rows of commas", "E117", _repeat(b",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\n", 99_000)),
    bomb("a million rows", "E111", _numbered(1_000_000, "id{},x\n")),
    bomb("a million empty lines", "E111", _repeat(b"\n", 1_000_000)),
    bomb("a hundred thousand unknown ids", "E213 E217", _numbered(99_000, "id{},x\n")),
    bomb("a hundred thousand broken rows", "E114 E118", _repeat(b'k2,"a"b"c"\n', 99_000)),
    bomb("a hundred thousand lookalikes", "E214 E215 E211", _numbered(99_000, "7.{:05d},x\n")),
    bomb("ids of 1,000 digits", "E213 E217 E214", _repeat(b"9" * 1000 + b",x\n", 20_000)),
    bomb("two hundred thousand quotes in one field", "E114 E113 E110", _repeat(b'"', 200_001, b"id,summary\nk2,")),
    bomb("ten thousand marks on one letter", "E303", _repeat("\u0301".encode(), 9_000, "id,summary\nk2,가".encode(), b"\n")),
    bomb("alternating marks for normalisation", "E303", _repeat("\u0315\u0300".encode(), 4_900, b"id,summary\nk2,a", b"\n")),
    bomb("JSON nested a million deep", "E107", _repeat(b"[", 1_000_000, b"")),
    bomb("HTML of 30 MB", "E107", _repeat(b"<a>", 10 * _MB, b"<")),
    bomb("a gzip of 1 GB of nothing", "E105", lambda: iter([gzip.compress(bytes(_MB)) * 1000])),
    bomb("a zip of 100 MB of nothing", "E105", lambda: iter([_zip("xl/worksheets/sheet1.xml", bytes(100 * _MB))])),
    bomb("UTF-16 of 30 MB", "E110 E111", _repeat("가".encode("utf-16-le"), 15 * _MB, b"\xff\xfe")),
    bomb("CP949 with one bad byte at the end of 31 MB", "E108 E109", _repeat("가나\n".encode("cp949"), 95_000, b"id,summary\n", b"k2,\xff\xff\n")),
    bomb("every line in another encoding", "E109", _repeat("가\n".encode() + "가나다\n".encode("cp949"), 45_000)),
)  # fmt: skip
