"""Which column holds the ids and which the summaries.

Columns are found by name, in any order. A name that differs in case, white space or invisible characters
only is taken with a notice. What could be meant in two ways is refused; where the contents tell which
column was probably meant, the message says so, and the rest of the file is checked as if it were mended.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence, Set
from typing import NamedTuple

from harness.contest import Columns
from harness.csv_file import Record, Table
from harness.faults import Findings, excerpt

_UNNAMED = re.compile(r"\s*(?:Unnamed: ?\d+(?:[._]\d+)?)?\s*")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_MAX_NAME = 64


class Layout(NamedTuple):
    """Where the ids and the summaries stand, and the rows of data."""

    id: int
    summary: int
    records: list[Record]


def find_layout(table: Table, ids: Set[str], columns: Columns, findings: Findings) -> Layout | None:
    """The layout of ``table``; faults and notices are added. ``None`` where it cannot even be guessed."""
    if _is_data(table.header, ids, columns):
        return _headless(table, ids, columns, findings)
    if not table.records and not table.uneven and table.complete and not findings.refused:
        findings.add("E117", "The header stands alone.", line=table.header.line)
    return _Header(table, ids, columns, findings).layout()


def _is_data(header: Record, ids: Set[str], columns: Columns) -> bool:
    named = columns.id in header.cells and columns.summary in header.cells
    return not named and any(cell.strip() in ids for cell in header.cells)


def _headless(table: Table, ids: Set[str], columns: Columns, findings: Findings) -> Layout | None:
    findings.add(
        "E201",
        f"The first line is a row of data: {', '.join(excerpt(cell, 24) for cell in table.header.cells[:3])}.",
        line=table.header.line,
        hint=f"Put the line {_line([columns.id, columns.summary])} on top; leave header=False out of to_csv.",
    )
    records = [table.header, *table.records]
    place = _id_column(records, len(table.header.cells), ids)
    others = [index for index in range(len(table.header.cells)) if index != place]
    others = [index for index in others if len(others) == 1 or not _counts_rows(records, index)]
    if place is None or len(others) != 1:
        return None
    return Layout(place, others[0], records)


class _Header:
    def __init__(self, table: Table, ids: Set[str], columns: Columns, findings: Findings) -> None:
        self.cells, self.line = table.header.cells, table.header.line
        self.records, self.ids = table.records, ids
        self.columns, self.findings = columns, findings
        self.delimiter = table.delimiter

    def layout(self) -> Layout | None:
        places = [self._named(name) for name in (self.columns.id, self.columns.summary)]
        if "E203" in self.findings:
            return None
        by_content = _id_column(self.records, len(self.cells), self.ids)
        id_place, summary_place = places
        if None not in places and by_content not in (None, id_place):
            id_place, summary_place = self._misplaced(by_content, *places)
        extra = self._extra({id_place, summary_place, by_content if id_place is None else None})
        if None in places:
            id_place, summary_place = self._missing(id_place, summary_place, by_content, extra)
        else:
            self._refuse_extra(extra)
            if places[0] > places[1] and "E205" not in self.findings:  # type: ignore[operator]
                self.findings.add("N201", "The columns stand in another order.", line=self.line)
        if id_place is None or summary_place is None:
            return None
        return Layout(id_place, summary_place, self.records)

    def _named(self, name: str) -> int | None:
        """The column called ``name``, or called so but for case, spaces and invisible characters."""
        exact = [index for index, cell in enumerate(self.cells) if cell == name]
        similar = [index for index, cell in enumerate(self.cells) if _plain(cell) == _plain(name)]
        found = exact or similar
        if len(found) > 1:
            shown = " and ".join(excerpt(self.cells[index], 24) for index in found[:3])
            self.findings.add("E203", f"{len(found)} columns are called {shown}.", line=self.line)
        elif found and not exact:
            shown = excerpt(self.cells[found[0]], 24)
            self.findings.add("N204", f"The column {shown} is taken for {name!r}.", line=self.line)
        return found[0] if found else None

    def _misplaced(
        self, by_content: int | None, id_place: int | None, summary_place: int | None
    ) -> tuple[int | None, int | None]:
        """Both names are there, but the ids stand elsewhere."""
        if by_content == summary_place:
            message = f"The ids stand in the column {self.columns.summary!r}: the two columns are swapped."
            self.findings.add("E205", message, line=self.line, hint=self._first_line(by_content, id_place))
            return by_content, id_place
        message = f"The ids stand in {self._name(by_content)}, not in {self.columns.id!r}."
        self.findings.add("E205", message, line=self.line)
        return by_content, summary_place

    def _extra(self, taken: set[int | None]) -> list[int]:
        """The columns that are neither taken nor harmless; the harmless are told of."""
        extra = []
        for index, cell in enumerate(self.cells):
            if index in taken:
                continue
            if _UNNAMED.fullmatch(cell[:_MAX_NAME]) and self.records and _counts_rows(self.records, index):
                self.findings.add("N202", f"Left out: {self._name(index)}.", line=self.line)
            elif _plain(cell) == _plain(self.columns.text) or (not cell.strip() and self._is_empty(index)):
                self.findings.add("N203", f"Left out: {self._name(index)}.", line=self.line)
            else:
                extra.append(index)
        return extra

    def _is_empty(self, index: int) -> bool:
        return not any(record.cells[index].strip() for record in self.records)

    def _missing(
        self, id_place: int | None, summary_place: int | None, by_content: int | None, extra: list[int]
    ) -> tuple[int | None, int | None]:
        """One name or both are missing; the contents may tell what was meant."""
        wanted = [
            name
            for name, place in ((self.columns.id, id_place), (self.columns.summary, summary_place))
            if place is None
        ]
        if id_place is None and by_content != summary_place:
            id_place = by_content
        if summary_place is None and id_place is not None and len(extra) == 1:
            summary_place = extra[0]
        elif extra and self.columns.summary not in wanted:
            self._refuse_extra(extra)
        hint = self._first_line(id_place, summary_place)
        if len(self.cells) == 1 and re.search("[,;\t|]", self.cells[0]):
            hint = f"Fields are separated by commas, and a line is not quoted as a whole. {hint}"
        called = ", ".join(excerpt(cell, 24) for cell in self.cells[:4])
        for name in wanted:
            place = id_place if name == self.columns.id else summary_place
            means = f"; {self._name(place)} seems to be meant" if place is not None else ""
            message = f"There is no column {name!r}{means}. The columns are: {called}."
            self.findings.add("E202", message, line=self.line, hint=hint)
        return id_place, summary_place

    def _refuse_extra(self, extra: Sequence[int]) -> None:
        if extra:
            shown = ", ".join(self._name(index) for index in extra[:4])
            more = f" and {len(extra) - 4} more" if len(extra) > 4 else ""
            names = f'df[["{self.columns.id}", "{self.columns.summary}"]]'
            hint = f"Keep two columns: {names}.to_csv(path, index=False)."
            self.findings.add("E204", f"Not asked for: {shown}{more}.", line=self.line, hint=hint)

    def _name(self, index: int | None) -> str:
        if index is None:
            return "none"
        cell = self.cells[index]
        return f"the column {excerpt(cell, 24)}" if cell.strip() else f"column {index + 1}, without a name"

    def _first_line(self, id_place: int | None, summary_place: int | None) -> str:
        """The edit that mends the header, as far as it is known."""
        cells = list(self.cells)
        if id_place is None or summary_place is None:
            cells = [self.columns.id, self.columns.summary]
        else:
            cells[id_place], cells[summary_place] = self.columns.id, self.columns.summary
        return f"Make the first line: {_line([cell[:_MAX_NAME] for cell in cells], self.delimiter)}"


def _line(cells: Sequence[str], delimiter: str = ",") -> str:
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="").writerow(cells)
    return line.getvalue()


def _plain(name: str) -> str:
    shown = _INVISIBLE.sub("", name[:_MAX_NAME])
    return unicodedata.normalize("NFKC", shown).strip().casefold()


def _id_column(records: Sequence[Record], width: int, ids: Set[str]) -> int | None:
    """The column of which at least half the fields are ids: the one with the most."""
    hits = Counter(
        index for record in records for index, cell in enumerate(record.cells[:width]) if cell.strip() in ids
    )
    best = max(range(width), key=lambda index: hits[index], default=None)
    return best if best is not None and 0 < len(records) <= 2 * hits[best] else None


def _counts_rows(records: Sequence[Record], index: int) -> bool:
    """Whether the column holds whole numbers, all different."""
    values = {record.cells[index] for record in records}
    return len(values) == len(records) and all(
        value.isascii() and value.isdigit() and len(value) < 16 for value in values
    )
