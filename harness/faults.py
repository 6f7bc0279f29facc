"""What can be wrong with a predictions file: every code, and the list a reader fills.

``E1…`` is about the file, its encoding and its shape as CSV, ``E2…`` about the header and the ids, ``E3…``
about the summaries; each of them refuses the file. ``W…`` warns about points lost, ``N…`` tells of a
repair that changed no summary. Codes are never given a second meaning: programs may rely on them.
docs/submission-format.md shows an example of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.errors import Problem

MAX_KEPT = 100_000
"""Findings of one code that are kept; the others are counted. It bounds the memory a hostile file costs."""

MAX_EXCERPT = 60
"""Characters of the participant's own file that a message quotes at most."""


@dataclass(frozen=True, slots=True)
class Code:
    """One code: its title in a few words, what it means, and what mends it (nothing, where it is ``""``)."""

    title: str
    meaning: str
    fix: str


_LIBRARY = (
    'Write the file with a CSV library, for example df[["id", "summary"]].to_csv("preds.csv", index=False).'
)
_UTF8 = 'Save it again as UTF-8: df.to_csv(path, index=False, encoding="utf-8"), or "CSV UTF-8" in Excel.'
_TEXT_IDS = (
    "Take the ids from test.csv as text: pandas.read_csv(path, dtype=str); "
    "in Excel, import the id column as Text."
)
_DOUBLED = 'A quote within a quoted field is doubled: "그는 ""예""라고 했다".'
_NOTHING = ""  # a repair that asks for nothing

CODES: Mapping[str, Code] = {
    # --- the file -----------------------------------------------------------------------------------
    "E101": Code(
        "cannot be read",
        "There is no such file, or it may not be read.",
        "Check the path and the file's permissions.",
    ),
    "E102": Code(
        "not a regular file",
        "A folder, a symbolic link, a pipe or a device: only regular files are opened.",
        "Give the path of the CSV file itself.",
    ),
    "E103": Code("empty file", "The file holds nothing but white space.", _LIBRARY),
    "E104": Code(
        "too large",
        "The file is larger than 32 MiB, many times a real submission.",
        "Hand in the id and the summary only, one row for each row of test.csv.",
    ),
    "E105": Code(
        "not a CSV file",
        "The first bytes are those of another format: a workbook, an archive, a picture, a model.",
        "Open it with the program that made it and save the table as CSV (UTF-8).",
    ),
    "E106": Code(
        "NUL bytes", "Text holds no NUL bytes: the file is binary, damaged or UTF-16 without a mark.", _UTF8
    ),
    "E107": Code(
        "another text format",
        "JSON, JSON Lines, HTML or a Git LFS pointer, whatever the file is called.",
        "Convert it to CSV with the columns id and summary.",
    ),
    "E108": Code(
        "unknown encoding", "The bytes are neither UTF-8, UTF-16 with a mark, EUC-KR nor CP949.", _UTF8
    ),
    "E109": Code(
        "mixed or damaged encoding",
        "Most of the file is UTF-8, but this line is not: two files were joined, or a download was cut.",
        "Make the file anew in one encoding, UTF-8.",
    ),
    # --- CSV ----------------------------------------------------------------------------------------
    "E110": Code(
        "line too long",
        "A line has more than 200,000 characters.",
        "One row is an id and a short summary. " + _LIBRARY,
    ),
    "E111": Code(
        "too many lines",
        "The file has more than 100,000 lines and 10 more for each row of test.csv.",
        "Hand in one row for each row of test.csv.",
    ),
    "E112": Code(
        "too many columns",
        "The header names more than 16 columns.",
        "Keep two columns: id and summary.",
    ),
    "E113": Code(
        "quote never closed",
        "A field opens with a double quote, and no closing quote follows.",
        "Close the quote at the end of the field. " + _DOUBLED,
    ),
    "E114": Code(
        "text after a closing quote",
        "A quoted field has ended, and more text follows before the next delimiter.",
        'Double each quote within a quoted field: "그는 ""예""라고 했다". A backslash does not escape it.',
    ),
    "E115": Code(
        "space before a quote",
        "A space stands before the opening quote, so that the quotes would become part of the text.",
        'Take out the space between the delimiter and the quote: id,"summary".',
    ),
    "E116": Code(
        "wrong number of fields",
        "A row has more or fewer fields than the header.",
        'Put summaries that hold commas or line breaks in double quotes: id,"물가, 금리".',
    ),
    "E117": Code(
        "no rows", "There is a header, but no row below it.", "Write one row for each row of test.csv."
    ),
    "E118": Code(
        "reading stopped",
        "So much of the file is not CSV that the rest was not looked at.",
        _LIBRARY,
    ),
    # --- the header ---------------------------------------------------------------------------------
    "E201": Code(
        "no header",
        "The first line is already a row of data, as pandas' header=False writes it.",
        "Put the line id,summary on top; leave header=False out of to_csv.",
    ),
    "E202": Code(
        "column missing",
        "The header lacks the column id or summary, or calls it something else.",
        "Make the first line: id,summary",
    ),
    "E203": Code(
        "column doubled",
        "Two columns have one name, so which is meant cannot be told.",
        "Keep one of the two.",
    ),
    "E204": Code(
        "unknown column",
        "There is a column besides id and summary that is neither an index nor the documents.",
        'Keep two columns: df[["id", "summary"]].to_csv("preds.csv", index=False).',
    ),
    "E205": Code(
        "ids in another column",
        "The column called id does not hold the ids, but another one does; the two may be swapped.",
        "Give each column the name of what it holds.",
    ),
    # --- the ids ------------------------------------------------------------------------------------
    "E211": Code("doubled id", "An id stands in more than one row.", "Keep one row for each id."),
    "E212": Code(
        "missing id",
        "An id of test.csv has no row.",
        "Add a row for it; an empty summary is allowed and scores 0.",
    ),
    "E213": Code(
        "unknown id",
        "An id is not in test.csv.",
        "Copy the ids from test.csv; take out rows that are not in it.",
    ),
    "E214": Code(
        "id rewritten as a number or a date",
        "A spreadsheet, or a column of numbers, has rewritten the id: 007 as 7, 12 as 12.0, 3-4 as a date.",
        _TEXT_IDS,
    ),
    "E215": Code(
        "id spelt in other characters",
        "The id differs from one of test.csv in case, width, composition, quotes or invisible characters only.",
        "Copy the ids from test.csv unchanged.",
    ),
    "E216": Code(
        "row without an id",
        "The id is empty, but the row has a summary.",
        "Give the row its id, or take it out.",
    ),
    "E217": Code(
        "ids of another contest",
        "Not one of the ids is in test.csv.",
        "Predict the rows of this contest's test.csv, or choose the contest: --contest NAME.",
    ),
    # --- the summaries ------------------------------------------------------------------------------
    "E301": Code(
        "all summaries empty",
        "Every summary is empty, as in the sample submission.",
        "Fill the column summary before handing in.",
    ),
    "E302": Code(
        "summary too long",
        "A summary has more than 10,000 characters.",
        "Cut it. Was the prompt or the document written along with it?",
    ),
    "E303": Code(
        "piled-up marks",
        "More than 30 combining marks stand on one letter; no language writes that.",
        "Take the marks out.",
    ),
    "W301": Code(
        "empty summary", "The summary is empty, so the row scores 0.", "Write something for every row."
    ),
    "W302": Code(
        "very long summary",
        "The summary has more than 1,000 characters; precision, and with it F1, will be low.",
        "Shorten it to the length of the summaries in train.csv.",
    ),
    "W303": Code(
        "the same summary many times",
        "More than a fifth of the rows have the same summary.",
        "Check that every document got its own prediction.",
    ),
    "W304": Code(
        "control or invisible characters",
        "The summary holds characters that cannot be seen. They are kept, and may split words.",
        "Take them out where the summary is made.",
    ),
    "W305": Code(
        "replacement characters",
        "The summary holds U+FFFD (�): text was lost when the file was decoded earlier.",
        "Decode the model's output in one piece; open files with the encoding they have.",
    ),
    "W306": Code(
        "text decoded in the wrong encoding",
        "The summary looks like Korean that was read in another encoding and saved again.",
        "Read your file with the encoding it was written in, then save it as UTF-8.",
    ),
    "W307": Code(
        "quotation marks around summaries",
        "Most summaries stand in marks that CSV takes for text. They are kept.",
        'Only the straight double quote " quotes a field. Take the others out if they are not meant.',
    ),
    # --- repairs ------------------------------------------------------------------------------------
    "N101": Code("decoded as UTF-16", "The file begins with the mark of UTF-16.", _NOTHING),
    "N102": Code(
        "decoded as EUC-KR or CP949",
        'The file is not UTF-8 but reads as Korean Windows text (Excel\'s plain "CSV").',
        "Look at the summaries once; UTF-8 avoids the guess.",
    ),
    "N103": Code(
        "another delimiter", "Fields are separated by semicolons or tabs instead of commas.", _NOTHING
    ),
    "N104": Code("empty rows skipped", "Blank lines, or rows of empty fields, hold nothing.", _NOTHING),
    "N201": Code("columns in another order", "Columns are found by name.", _NOTHING),
    "N202": Code(
        "index column left out",
        "A column without a name numbers the rows, as pandas writes it.",
        "index=False in to_csv leaves it out.",
    ),
    "N203": Code(
        "column left out", "The documents, or an empty column without a name, stand in the file.", _NOTHING
    ),
    "N204": Code(
        "column name repaired",
        "A name differed only in case, spaces or invisible characters.",
        _NOTHING,
    ),
    "N205": Code(
        "spaces around ids",
        "Ids stand in white space; without it they are ids of test.csv.",
        _NOTHING,
    ),
    "N206": Code("rows in another order", "Rows are found by id.", _NOTHING),
    "N301": Code(
        "composed to NFC",
        "Summaries had decomposed letters (NFD, as macOS writes them); they are scored as NFC.",
        _NOTHING,
    ),
}


class Findings:
    """What a reader finds in one file, in the order in which it is found."""

    def __init__(self) -> None:
        self._kept: list[Problem] = []
        self._counts: Counter[str] = Counter()

    def add(
        self,
        code: str,
        message: str,
        *,
        line: int | None = None,
        row: int | None = None,
        id: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Add one finding; ``hint`` is the code's own fix unless given. ``id`` is cut to be kept.

        Raises:
            KeyError: the code is not in ``CODES``.
        """
        fix = CODES[code].fix
        self._counts[code] += 1
        if self._counts[code] <= MAX_KEPT:
            shown = None if id is None else id[: MAX_EXCERPT + 1]
            self._kept.append(Problem(code, message, line, row, shown, fix if hint is None else hint))

    def __contains__(self, code: str) -> bool:
        return self._counts[code] > 0

    @property
    def refused(self) -> bool:
        """Whether anything found refuses the file."""
        return any(code.startswith("E") for code in self._counts)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What refuses the file."""
        return tuple(problem for problem in self._all() if problem.is_error)

    @property
    def notices(self) -> tuple[Problem, ...]:
        """Warnings and repairs."""
        return tuple(problem for problem in self._all() if not problem.is_error)

    def _all(self) -> Iterator[Problem]:
        yield from self._kept
        for code, count in self._counts.items():
            if count > MAX_KEPT:
                message = f"{count - MAX_KEPT:,} more of this kind, {count:,} in all; they are not listed."
                yield Problem(code, message, hint=CODES[code].fix)


def excerpt(text: str, width: int = MAX_EXCERPT) -> str:
    """A quoted piece of ``text`` that is safe to show: at most ``width`` characters, the invisible escaped."""
    return repr(text) if len(text) <= width else repr(text[: width - 1]) + "…"
