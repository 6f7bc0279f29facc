r"""Labelled data of many shapes, read as rows of a document and its reference summaries.

========== ===================================================================================
``.csv``   a header, then rows; ``.tsv`` with tabs; UTF-8, UTF-16 with a mark, or CP949
``.jsonl`` one object a line
``.json``  an array of objects, or one of AI Hub's shapes below
``.parquet`` a table (needs pyarrow: the extra ``frames``)
a folder   of ``.json`` files, in the order of their names, subfolders included
========== ===================================================================================

AI Hub's published shapes, as their users' loading scripts read them::

    dialogues   {"data": [{"header": {"dialogueInfo": {"dialogueID": …}},
                           "body": {"dialogue": [{"participantID": "P01", "utterance": …}], "summary": …}}]}
    documents   {"documents": [{"id": …, "text": [[{"index": 0, "sentence": …}]], "abstractive": [ … ]}]}
    papers      {"data": [{"doc_id": …, "summary_entire": [{"orginal_text": …, "summary_text": …}]}]}
    reports     {"Meta(Refine)": {"passage_id": …, "passage": …}, "Annotation": {"summary1": …}}

The keys are spelt as they are published (``orginal_text``). A report's ``summary2`` and ``summary3`` are
sentences taken from the passage, not further writings of ``summary1``, and are left out.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import ContestError, Problem, UsageError
from harness.text import safe

TEXT_NAMES = (
    *("text", "document", "dialogue", "content", "contents", "article", "articleoriginal", "body", "passage"),
    *("original", "originaltext", "본문", "원문", "내용", "대화", "문서", "기사"),
)
SUMMARY_NAMES = (
    *("summary", "summaries", "abstract", "abstractive", "highlights", "reference", "references"),
    *("요약", "요약문", "생성요약"),
)
TITLE_NAMES = ("title", "headline", "제목")
"""Taken for the summary only where no column is called one, and with a notice."""
ID_NAMES = ("id", "docid", "documentid", "dialogueid", "passageid", "fname", "uid", "아이디", "문서번호")

_HANGUL = re.compile("[가-힣]")

SHOWN_FAULTS = 3
"""Faults that are written out in the message; ``ContestError.problems`` holds them all."""


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One labelled document as its source has it.

    ``place`` says where it stands (``line 7``, ``row 3 of b.json``); ``id`` is the source's own, ``""``
    where it has none; ``references`` are in the order of their columns and may be empty texts.
    """

    place: str
    id: str
    text: str
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelledColumns:
    """The names of a source's columns; ``id`` is ``None`` where it has none."""

    id: str | None
    text: str
    summaries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelledSource:
    """A source that has been read: its rows in their order, the columns taken, and what to tell of it."""

    rows: tuple[LabelledRow, ...]
    columns: LabelledColumns
    notices: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Record:
    place: str
    line: int | None
    row: int
    values: Mapping[str, Any]

    def fault(self, code: str, message: str, hint: str = "") -> Problem:
        return Problem(code, f"{self.place}: {message}", line=self.line, row=self.row, hint=hint)


def read_labelled(
    source: str | Path,
    *,
    id_column: str | None = None,
    text_column: str | None = None,
    summary_columns: Sequence[str] | None = None,
) -> LabelledSource:
    """Read every row of ``source``, finding its columns by name where they are not given.

    Raises:
        UsageError: there is no such file, its format is not known, or a package is missing for it.
        ContestError: it cannot be read, or a column is missing or ambiguous; ``problems`` lists every
            fault with its line and row.
    """
    path = Path(source)
    notices: list[Problem] = []
    faults: list[Problem] = []
    records = _records(path, notices, faults)
    _refuse(path, faults)
    if not records:
        raise ContestError(f"{path} holds no rows.", hint="It needs one labelled document a row.")
    columns = _find_columns(path, records, id_column, text_column, summary_columns, notices)
    rows = [_labelled(record, columns, faults) for record in records]
    _refuse(path, faults)
    return LabelledSource(tuple(rows), columns, tuple(notices))


def _refuse(path: Path, faults: Sequence[Problem]) -> None:
    if not faults:
        return
    shown = "; ".join(fault.message for fault in faults[:SHOWN_FAULTS])
    more = f"; and {len(faults) - SHOWN_FAULTS:,} more" if len(faults) > SHOWN_FAULTS else ""
    raise ContestError(
        f"{path} cannot be used: {shown}{more}.",
        hint=next((fault.hint for fault in faults if fault.hint), ""),
        problems=faults,
    )


# --- files ----------------------------------------------------------------------------------------


def _records(path: Path, notices: list[Problem], faults: list[Problem]) -> list[_Record]:
    if path.is_dir():
        return _folder(path, faults)
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", hint="Check the path; quote it if it holds spaces.")
    read = _FORMATS.get(path.suffix.lower())
    if read is None:
        _unknown_format(path)
    return list(read(path, notices, faults))


def _unknown_format(path: Path) -> NoReturn:
    if path.suffix.lower() in {".zip", ".gz", ".tar", ".tgz", ".7z"}:
        raise UsageError(
            f"{path} is an archive.", hint="Unzip it first, then name the file or the folder that came out."
        )
    raise UsageError(
        f"{path} is of a kind that cannot be read ({path.suffix or 'no ending'}).",
        hint=f"Labelled data comes as {', '.join(_FORMATS)}, or as a folder of .json files.",
    )


def _folder(folder: Path, faults: list[Problem]) -> list[_Record]:
    paths = sorted(folder.rglob("*.json"), key=lambda path: path.relative_to(folder).as_posix())
    if not paths:
        raise UsageError(
            f"The folder {folder} holds no .json file.",
            hint="A folder is read as AI Hub's: JSON files, in subfolders or not. Otherwise name one file.",
        )
    return [
        _Record(f"row {record.row} of {path.relative_to(folder).as_posix()}", None, record.row, record.values)
        for path in paths
        for record in _json(path, [], faults)
    ]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ContestError(f"{path} cannot be read: {error.strerror}.") from None


def _text(path: Path, notices: list[Problem]) -> str:
    content = _bytes(path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        names = ["utf-16"]
    else:
        names = ["utf-8-sig"] if _has_utf8_hangul(content) else ["utf-8-sig", "cp949"]
    for name in names:
        try:
            text = content.decode(name)
        except UnicodeDecodeError:
            continue
        if name != "utf-8-sig":
            notices.append(Problem("CN101", f"{path.name} was decoded as {name.upper()}, not UTF-8."))
        return text
    raise ContestError(
        f"{path} is not UTF-8, UTF-16 or CP949{_broken_line(content)}.", hint="Save it as UTF-8."
    )


def _has_utf8_hangul(content: bytes) -> bool:
    """Whether a line is UTF-8 with Hangul. Then the file is UTF-8, damaged or not, and never CP949.

    A line of CP949 whose bytes all fit UTF-8's pattern for Hangul (three bytes from EA to ED) is as good
    as impossible; read as CP949, a file with one damaged byte would become nonsense without an error.
    """
    for line in content.split(b"\n"):
        try:
            if _HANGUL.search(line.decode("utf-8")):
                return True
        except UnicodeDecodeError:
            continue
    return False


def _broken_line(content: bytes) -> str:
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return f" (line {number} is the first that is not UTF-8)"
    return ""


def _csv(path: Path, notices: list[Problem], faults: list[Problem]) -> Iterator[_Record]:
    text = _text(path, notices)
    csv.field_size_limit(100_000_000)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path, text), strict=True)
    try:
        header = next(reader, [])
        yield from _csv_rows(reader, header, faults)
    except csv.Error as error:
        line = reader.line_num
        faults.append(Problem("C401", f"line {line}: {error}", line=line, hint="Write it with a CSV library."))


def _delimiter(path: Path, text: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    header = text.partition("\n")[0]
    return max(",\t;", key=header.count)


def _csv_rows(reader: Any, header: list[str], faults: list[Problem]) -> Iterator[_Record]:
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        faults.append(
            Problem(
                "C402",
                f"line 1: the column {', '.join(repr(safe(name, 40)) for name in doubled)} stands twice",
                line=1,
                hint="Give every column a name of its own.",
            )
        )
    row, line = 0, reader.line_num + 1
    for cells in reader:
        if cells:
            row += 1
            record = _Record(f"line {line}", line, row, dict(zip(header, cells, strict=False)))
            if len(cells) != len(header):
                message = f"{len(cells)} fields where the header has {len(header)}"
                hint = "Quote fields that hold commas or newlines: any CSV library does it."
                faults.append(record.fault("C401", message, hint))
            yield record
        line = reader.line_num + 1


def _jsonl(path: Path, notices: list[Problem], faults: list[Problem]) -> Iterator[_Record]:
    row = 0
    # Not splitlines(): it would cut at U+2028, which JSON allows inside a text.
    for line, content in enumerate(_text(path, notices).split("\n"), 1):
        if not content.strip():
            continue
        row += 1
        record = _parse(content, f"line {line}", line, row, faults)
        if isinstance(record, dict):
            yield _Record(f"line {line}", line, row, _plain(record))
        elif record is not None:
            faults.append(_not_an_object(f"line {line}", line, row))


def _json(path: Path, notices: list[Problem], faults: list[Problem]) -> Iterator[_Record]:
    content = _parse(_text(path, notices), path.name, None, None, faults)
    if content is None:
        return
    for row, record in enumerate(_objects(content), 1):
        if isinstance(record, dict):
            yield _Record(f"row {row}", None, row, _plain(record))
        else:
            faults.append(_not_an_object(f"row {row} of {path.name}", None, row))


def _parse(content: str, place: str, line: int | None, row: int | None, faults: list[Problem]) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        # A ValueError is also what an integer of more than 4300 digits gives.
        what, hint = "not JSON that can be read", "Write it with a JSON library."
        if isinstance(error, json.JSONDecodeError):
            line = (line or 1) + error.lineno - 1
            what = f"not valid JSON (line {line}, column {error.colno}: {error.msg})"
            if error.msg == "Extra data":
                hint = "A file with one object a line is called .jsonl: rename it."
        faults.append(Problem("C401", f"{place}: {what}", line=line, row=row, hint=hint))
        return None


def _not_an_object(place: str, line: int | None, row: int) -> Problem:
    hint = 'Every row is an object such as {"id": "1", "text": "…", "summary": "…"}.'
    return Problem("C401", f"{place}: not an object", line=line, row=row, hint=hint)


def _objects(content: Any) -> list[Any]:
    """The rows of a JSON file: an array, the array under ``data`` or ``documents``, or the one object."""
    if isinstance(content, list):
        return content
    if isinstance(content, dict):
        for key in ("data", "documents"):
            if isinstance(content.get(key), list):
                return list(content[key])
    return [content]


def _parquet(path: Path, notices: list[Problem], faults: list[Problem]) -> Iterator[_Record]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError:
        raise UsageError(
            f"Reading {path.name} needs pyarrow, which is not installed.",
            hint='Install it: pip install "matbogi[frames]"',
        ) from None
    try:
        with ParquetFile(path) as file:
            rows: list[dict[str, Any]] = file.read().to_pylist()
    except (ArrowException, OSError) as error:
        raise ContestError(f"{path} cannot be read as Parquet: {safe(str(error), 200)}") from None
    for row, values in enumerate(rows, 1):
        yield _Record(f"row {row}", None, row, values)


_FORMATS: dict[str, Callable[[Path, list[Problem], list[Problem]], Iterable[_Record]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
}


# --- AI Hub's shapes ------------------------------------------------------------------------------


def _plain(record: dict[str, Any]) -> Mapping[str, Any]:
    """``record`` with ``id``, ``text`` and ``summary``, if it has one of AI Hub's shapes; else as it is."""
    for shape in (_dialogue, _document, _paper, _report):
        try:
            return shape(record)
        except (KeyError, TypeError, IndexError, AttributeError):
            continue
    return record


def _dialogue(record: dict[str, Any]) -> dict[str, Any]:
    body = record["body"]
    turns = [f"{turn['participantID']}: {turn['utterance']}" for turn in body["dialogue"]]
    info = record.get("header", {}).get("dialogueInfo", {})
    return {"id": info.get("dialogueID"), "text": "\n".join(turns), "summary": body.get("summary")}


def _document(record: dict[str, Any]) -> dict[str, Any]:
    paragraphs = [
        " ".join(sentence["sentence"].strip() for sentence in paragraph) for paragraph in record["text"]
    ]
    return {"id": record.get("id"), "text": "\n".join(paragraphs), "summary": record["abstractive"]}


def _paper(record: dict[str, Any]) -> dict[str, Any]:
    whole = record["summary_entire"][0]
    return {"id": record.get("doc_id"), "text": whole["orginal_text"], "summary": whole["summary_text"]}


def _report(record: dict[str, Any]) -> dict[str, Any]:
    passage = record["Meta(Refine)"]
    return {
        "id": passage.get("passage_id"),
        "text": passage["passage"],
        "summary": record["Annotation"]["summary1"],
    }


# --- columns --------------------------------------------------------------------------------------


def _find_columns(
    path: Path,
    records: Sequence[_Record],
    id_column: str | None,
    text_column: str | None,
    summary_columns: Sequence[str] | None,
    notices: list[Problem],
) -> LabelledColumns:
    names = list(dict.fromkeys(name for record in records for name in record.values))
    faults: list[str] = []
    given = [name for name in (id_column, text_column, *(summary_columns or ())) if name is not None]
    faults += [f"there is no column {name!r}" for name in given if name not in names]
    if len(set(given)) < len(given):
        faults.append("one column is given for two purposes")
    identifier = id_column or _one(names, ID_NAMES, "id", "--id-column", faults)
    text = text_column or _one(names, TEXT_NAMES, "text", "--text-column", faults)
    if text is None:
        faults.append("no column looks like the document (give it with --text-column)")
    summaries = list(summary_columns or _references(names, faults))
    if not summaries and not any("--summary-column" in fault for fault in faults):
        summaries = _title(names, notices)
        if not summaries:
            faults.append("no column looks like the summary (give it with --summary-column)")
    if faults:
        raise ContestError(
            f"{path}: {'; '.join(faults)}.",
            hint=f"Its columns: {', '.join(safe(name, 40) for name in names) or 'none'}.",
        )
    return LabelledColumns(identifier, text or "", tuple(summaries))


def _normal(name: str) -> str:
    return re.sub(r"[\s_-]", "", unicodedata.normalize("NFC", name)).casefold()


def _one(
    names: Sequence[str], known: Sequence[str], purpose: str, option: str, faults: list[str]
) -> str | None:
    """The column for ``purpose``: the one of that very name, else the only one with a ``known`` name."""
    found = [name for name in names if _normal(name) in known]
    exact = [name for name in found if _normal(name) == purpose]
    if len(exact or found) > 1:
        choices = ", ".join(map(repr, exact or found))
        faults.append(f"{choices} could each be the {purpose} (choose with {option})")
    return next(iter(exact or found), None)


def _references(names: Sequence[str], faults: list[str]) -> list[str]:
    """The columns of one family: ``summary``, ``summary2``, ``summary_3``, in the order of their numbers."""
    families: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        base, number = _split_number(_normal(name))
        if base in SUMMARY_NAMES:
            families.setdefault(base, []).append((number, name))
    if len(families) > 1 and "summary" not in families:
        choices = ", ".join(repr(name) for family in families.values() for _, name in family)
        faults.append(f"{choices} could each be the summary (choose with --summary-column)")
        return []
    family = families.get("summary") or next(iter(families.values()), [])
    return [name for _, name in sorted(family)]


def _split_number(name: str) -> tuple[str, int]:
    base = name.rstrip("0123456789")
    return base, int(name[len(base) :] or 0)


def _title(names: Sequence[str], notices: list[Problem]) -> list[str]:
    found = [name for name in names if _normal(name) in TITLE_NAMES][:1]
    for name in found:
        message = f"No column is called a summary: {safe(name, 40)!r} was taken."
        notices.append(Problem("CN102", message, hint="Another one: --summary-column NAME."))
    return found


# --- values ---------------------------------------------------------------------------------------


def _labelled(record: _Record, columns: LabelledColumns, faults: list[Problem]) -> LabelledRow:
    def texts(column: str) -> list[str]:
        found = _texts(record.values.get(column))
        if found is None:
            hint = "A document is a text; summaries are a text or a list of texts."
            faults.append(record.fault("C403", f"the column {safe(column, 40)!r} holds no text", hint))
        return found or []

    identifier = _texts(record.values.get(columns.id)) if columns.id else []
    return LabelledRow(
        place=record.place,
        id=" ".join(identifier or []).strip(),
        text="\n".join(texts(columns.text)),
        references=tuple(text for column in columns.summaries for text in texts(column)),
    )


def _texts(value: Any) -> list[str] | None:
    """``value`` as texts: a text, a number, nothing, or a list of these. ``None`` for anything else."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [str(value)]
    if isinstance(value, list):
        parts = [_texts(item) for item in value if not isinstance(item, list)]
        if len(parts) == len(value) and None not in parts:
            return [text for part in parts for text in part or []]
    return None
