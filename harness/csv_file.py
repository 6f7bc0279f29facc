"""From text to rows: the standard ``csv`` module in strict mode, watched.

``csv`` alone stops at the first fault, names the line where a field ends rather than the one where its
quote opens, and splits a line of any length. Here no line or row is split before its length is known; a
row whose quotes are wrong is told of, with the line of the quote, and reading goes on at the next row that
begins with a known id. Only CR, LF and CRLF end a line; U+2028, NEL, VT and FF are text. ::

    id,summary                    header
    xAqIHdvEZG,"물가, 금리         row 1, line 2
    동결"                         still row 1
    "007",환율 하락               row 2, line 4
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Set
from typing import NamedTuple

from harness.faults import Findings, excerpt

MAX_RECORD = 200_000
"""Characters of one line, and of one row with the line breaks in its quoted fields."""

MAX_COLUMNS = 16
"""Columns a header may name: memory grows with them, and a submission needs two."""

MAX_BROKEN = 4_000_000
"""Characters in rows that are not CSV after which reading stops: it bounds the time a hostile file costs."""

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_LINE_END = re.compile(r"\r\n|\r|\n")
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"')


class Record(NamedTuple):
    """One row of the file: data row (0 for the header), line on which it begins, fields."""

    row: int
    line: int
    cells: list[str]


class Table(NamedTuple):
    """A file that has been split.

    ``records`` have as many fields as the header; ``uneven`` have more or fewer. ``broken_ids`` are the
    ids that stand at the beginning of rows whose quotes are wrong. ``complete`` is false where reading
    stopped early.
    """

    header: Record
    records: list[Record]
    uneven: list[Record]
    broken_ids: set[str]
    delimiter: str
    complete: bool


def split(text: str, names: Collection[str], ids: Set[str], findings: Findings) -> Table | None:
    """Split ``text`` into its header and rows; ``None`` where it has no usable header, with the fault added.

    ``names`` are the columns that are wanted: they tell the delimiter. ``ids`` are the known ids, in
    whose rows reading goes on after a fault.
    """
    # The limit belongs to the whole process, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD))
    splitter = _Splitter(text, {*names, *ids}, ids, findings)
    header = splitter.header()
    if header is None:
        return None
    records: list[Record] = []
    uneven: list[Record] = []
    for record in splitter.records():
        if len(record.cells) == len(header.cells):
            records.append(record)
        else:
            uneven.append(record._replace(cells=record.cells[: MAX_COLUMNS * 2]))
            splitter.count_broken()
    splitter.close()
    return Table(header, records, uneven, splitter.broken_ids, splitter.delimiter, splitter.complete)


class _TooLong(Exception):
    pass


class _Lines(Iterator[str]):
    """The physical lines of a text, each with its end, and where the current row began."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0  # of the next line
        self.number = 0  # of lines handed out
        self.begin()

    def begin(self) -> None:
        """Let a row begin at the next line."""
        self.start, self.start_line = self.position, self.number + 1

    def back_to_second_line(self) -> None:
        """Forget all lines of the current row but its first."""
        self.position, self.number = self.start, self.start_line - 1
        self.skip()

    def skip(self) -> tuple[int, int]:
        """Go past the next line without its length being judged; where it begins and ends."""
        begin, end = self.position, self._end()
        self.position, self.number = end, self.number + 1
        return begin, end

    def _end(self) -> int:
        match = _LINE.match(self.text, self.position)
        return match.end() if match else len(self.text)

    def __next__(self) -> str:
        if self.position >= len(self.text):
            raise StopIteration
        end = self._end()
        if end - self.start > MAX_RECORD:
            raise _TooLong
        begin, self.position = self.position, end
        self.number += 1
        return self.text[begin:end]

    @property
    def consumed(self) -> str:
        """What has been handed out of the current row."""
        return self.text[self.start : self.position]


class _Splitter:
    def __init__(self, text: str, known: Set[str], ids: Set[str], findings: Findings) -> None:
        self.lines = _Lines(text)
        self.known, self.ids, self.findings = known, ids, findings
        self.delimiter = ","
        self.row = 0
        self.blank: list[int] = []  # the lines of empty rows
        self.broken_ids: set[str] = set()
        self.broken = 0  # characters
        self.complete = True

    def header(self) -> Record | None:
        """The first row that is not blank; it tells the delimiter."""
        self._find_delimiter()
        header = next(self.records(), None)
        if header is None and not self.findings.refused:
            self.findings.add("E103", "The file holds nothing but empty rows.")
        if header is None or self.findings.refused:
            return None
        if len(header.cells) > MAX_COLUMNS:
            message = f"The header has {len(header.cells):,} columns."
            self.findings.add("E112", message, line=header.line)
            return None
        if self.delimiter != ",":
            self.findings.add("N103", f"Read with {DELIMITERS[self.delimiter]} between the fields.")
        self.row = 1
        return header

    def _find_delimiter(self) -> None:
        lines = _Lines(self.lines.text)
        try:
            first = next((line for line in lines if not line.isspace()), "")
        except _TooLong:
            return

        def fitness(delimiter: str) -> tuple[int, int]:
            cells = [cell.strip(' "\ufeff\r\n') for cell in first.split(delimiter, MAX_COLUMNS)]
            known = sum(cell in self.known or cell.casefold() in self.known for cell in cells)
            return known, len(cells)

        self.delimiter = max(DELIMITERS, key=fitness)

    def records(self) -> Iterator[Record]:
        """The rows that can be read, blank ones left out; faults are added on the way."""
        reader = csv.reader(self.lines, delimiter=self.delimiter, strict=True)
        while self.broken <= MAX_BROKEN:
            self.lines.begin()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except _TooLong:
                self._too_long()
            except csv.Error:
                self._broken_quotes()
            else:
                yield from self._record(cells)
                continue
            if self.row == 0:
                return  # without a header nothing that follows has a meaning
            self._resume()
            reader = csv.reader(self.lines, delimiter=self.delimiter, strict=True)
        self.complete = False
        message = f"Stopped at line {self.lines.number + 1:,}; the lines below it were not checked."
        self.findings.add("E118", message, line=self.lines.number + 1)

    def _record(self, cells: list[str]) -> Iterator[Record]:
        row, line = self.row, self.lines.start_line
        if not any(cells) or (len(cells) == 1 and cells[0].isspace()):
            self.blank.append(line)
            return
        self.row += row > 0
        stray = self._spaced_quote(cells)
        if stray:
            shown = excerpt(stray)
            self.findings.add("E115", f"The field {shown} begins with a space.", line=line, row=row or None)
            self.count_broken()
            return
        yield Record(row, line, cells)

    def _spaced_quote(self, cells: list[str]) -> str:
        """The first field that begins with spaces and then a quote, unless it is quoted as a whole."""
        for cell in cells:
            if cell[:1] in (" ", "\t") and cell.lstrip(" \t").startswith('"'):
                # Rare enough for a second look at the text: '" ""a"""' is right, ' "a"' is not.
                fields = _fields(self.lines.consumed, self.delimiter)
                return next((field for field in fields if re.match(r'[ \t]+"', field)), "")
        return ""

    def count_broken(self) -> None:
        """Count the current row as not CSV, and remember the id it begins with."""
        self.broken += self.lines.position - self.lines.start
        self.broken_ids.update(self._leading_ids(self.lines.consumed))

    def _leading_ids(self, line: str) -> list[str]:
        cells = [cell.strip(' "\r\n') for cell in line.split(self.delimiter, 3)[:3]]
        return [cell for cell in cells if cell in self.ids]

    def _too_long(self) -> None:
        """A row longer than may be split: one endless line, or a quote that takes in all that follows."""
        if self.lines.position == self.lines.start:
            begin, end = self.lines.skip()
            message = f"The line has {end - begin:,} characters."
            self.findings.add("E110", message, line=self.lines.start_line, row=self.row or None)
            self.broken_ids.update(self._leading_ids(self.lines.text[begin : begin + 1000]))
            self.row += self.row > 0
            return
        self._broken_quotes()

    def _broken_quotes(self) -> None:
        raw, line, row = self.lines.consumed, self.lines.start_line, self.row or None
        fault = _find_quote_fault(raw, self.delimiter)
        opened = line + _line_ends(raw[: fault.opened])
        if fault.closed is None:
            at_end = self.lines.position >= len(self.lines.text)
            closing = "is never closed" if at_end else f"is not closed within {MAX_RECORD:,} characters"
            beginning = excerpt(_first_line(raw[fault.opened + 1 : fault.opened + 80]), 24)
            message = f"The quote that opens on line {opened:,}, before {beginning}, {closing}."
            self.findings.add("E113", message, line=opened, row=row)
        else:
            self._text_after_quote(raw, fault.opened, fault.closed, opened, row)
        self.count_broken()
        self.row += self.row > 0
        self.lines.back_to_second_line()

    def _text_after_quote(self, raw: str, begin: int, end: int, opened: int, row: int | None) -> None:
        closed = opened + _line_ends(raw[begin:end])
        rest = excerpt(_first_line(raw[end : end + 80]), 16)
        where = "" if closed == opened else f" on line {closed:,}"
        message = f"The field quoted from line {opened:,} on ends{where} before {rest}."
        if raw[:end].endswith('\\"'):
            message += ' Write \\" as "".'
        elif closed != opened:
            message += f" Is the closing quote missing on line {opened:,}?"
        self.findings.add("E114", message, line=opened, row=row)

    def _resume(self) -> None:
        """Go on at the next line that begins with a known id: anywhere else could be inside a field."""
        while self.lines.position < len(self.lines.text):
            begin, end = self.lines.skip()
            if self._leading_ids(self.lines.text[begin : min(end, begin + 1000)]):
                self.lines.position, self.lines.number = begin, self.lines.number - 1
                return

    def close(self) -> None:
        """Tell of what was skipped."""
        if self.blank:
            count = len(self.blank)
            message = f"{count:,} empty row{'s' * (count > 1)} skipped, the first on line {self.blank[0]:,}."
            self.findings.add("N104", message, line=self.blank[0])


class _QuoteFault(NamedTuple):
    opened: int
    closed: int | None


def _find_quote_fault(raw: str, delimiter: str) -> _QuoteFault:
    """Where the field opens that breaks ``raw``, and where its quote closes too early, if it closes."""
    position = 0
    while True:
        if raw.startswith('"', position):
            quoted = _QUOTED.match(raw, position)
            if not quoted:
                return _QuoteFault(position, None)
            end = quoted.end()
            if end < len(raw) and not raw.startswith((delimiter, "\r", "\n"), end):
                return _QuoteFault(position, end)
        else:
            end = raw.find(delimiter, position)
        if end < 0 or not raw.startswith(delimiter, end):
            return _QuoteFault(0, None)
        position = end + 1


def _fields(raw: str, delimiter: str) -> Iterator[str]:
    """The fields of ``raw`` as they are written, quotes included."""
    position = 0
    while position <= len(raw):
        quoted = _QUOTED.match(raw, position)
        end = raw.find(delimiter, quoted.end() if quoted else position)
        end = len(raw) if end < 0 else end
        yield raw[position:end]
        position = end + 1


def _first_line(text: str) -> str:
    return _LINE_END.split(text, maxsplit=1)[0]


def _line_ends(text: str) -> int:
    return sum(1 for _ in _LINE_END.finditer(text))
