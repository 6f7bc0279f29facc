"""Reads a predictions file strictly, and lists everything that is wrong with it.

::

    id,summary
    xAqIHdvEZG,"해솔시, 2028년까지 노후 상수도관 42km 교체"

The reader is given the public list of ids and nothing else: it cannot tell what it has not been told.
Every fault has a code (``CODES``; docs/submission-format.md explains each). What can be mended without
any doubt about which summary belongs to which id is mended and announced; everything else is refused.
A summary is never altered, but for being composed to NFC, which is announced too. ::

    report = check("preds.csv", contest)
    report.ok, report.problems, report.notices

The way of a file: ``encoding`` (bytes, text), ``csv_file`` (rows), ``header`` (columns), and here the ids
and the summaries.
"""

from __future__ import annotations

import hashlib
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.contest import Columns, Contest
from harness.csv_file import MAX_COLUMNS, Record, Table, split
from harness.encoding import decode, read_bytes
from harness.errors import InvalidSubmission, Problem
from harness.faults import CODES as CODES
from harness.faults import Findings, excerpt
from harness.header import Layout, find_layout
from harness.lookalikes import Lookalikes, closest
from harness.text import safe

MAX_SUMMARY = 10_000
"""Characters of a summary; normalising and scoring take more than linear time in it."""

LONG_SUMMARY = 1_000
"""Characters from which on a summary is told to be very long."""

MAX_MARKS = 30
"""Combining marks on one letter, as in Unicode's Stream-Safe Text Format (UAX #15, section 13)."""

REPEATED_SHARE, REPEATED_ROWS = 0.2, 5
"""The same summary in more than this share of the rows, and in this many, is told of."""

_PILE = re.compile(rf"[^\w\s]{{{MAX_MARKS + 1},}}")
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]"
)
_HANGUL = re.compile("[가-힣]")
_MISREADINGS = (("cp949", "utf-8"), ("latin-1", "utf-8"), ("cp1252", "utf-8"), ("latin-1", "cp949"))
_MARKS = ("“”", "‘’", "''", '""', "「」", "『』", "``", "«»")


class Lengths(NamedTuple):
    """Characters of the summaries of a file, in NFC."""

    shortest: int
    median: float
    longest: int


@dataclass(frozen=True)
class Predictions:
    """A predictions file that can be scored.

    ``summaries`` goes from id to summary, in the order of the contest's ids and in NFC. ``sha256`` is that
    of ``content``, the bytes as they were handed in, so that what is archived is what was checked.
    ``notices`` are warnings (``W…``) and repairs (``N…``).
    """

    summaries: dict[str, str]
    sha256: str
    notices: tuple[Problem, ...]
    content: bytes

    @classmethod
    def read(cls, path: str | Path, ids: Sequence[str], columns: Columns = Columns()) -> Predictions:
        """Read the file at ``path`` as predictions for ``ids``.

        Raises:
            InvalidSubmission: the file has faults; it lists all of them, with the notices. ``sha256`` is
                empty where the file could not be read.
        """
        return _accept(_examine_file(path, ids, columns))

    @classmethod
    def parse(cls, content: bytes, ids: Sequence[str], columns: Columns = Columns()) -> Predictions:
        """Like ``read``, from bytes.

        Raises:
            InvalidSubmission: as ``read``.
        """
        return _accept(_examine(content, ids, columns, Findings()))


@dataclass(frozen=True)
class CheckReport:
    """All that the checker found in a file.

    ``rows`` counts the rows of data, as far as the file could be split; ``None`` where they were not
    counted. ``lengths`` is ``None`` where no summary was found. ``sha256`` is empty where the file could
    not be read.
    """

    problems: tuple[Problem, ...]
    notices: tuple[Problem, ...]
    rows: int | None
    sha256: str
    lengths: Lengths | None = None

    @property
    def ok(self) -> bool:
        """Whether the file would be scored."""
        return not self.problems

    @classmethod
    def of(cls, fault: InvalidSubmission) -> CheckReport:
        """The report on a file that has been refused."""
        return cls(fault.problems, fault.notices, None, fault.sha256)


def check(path: str | Path, contest: Contest) -> CheckReport:
    """Everything that is wrong with the predictions at ``path``. Reads no answers.

    Raises:
        ContestError: the contest's own ``test.csv`` cannot be read. A bad predictions file never raises.
    """
    found = _examine_file(path, contest.test_ids, contest.columns)
    return CheckReport(
        found.findings.problems,
        found.findings.notices,
        found.rows,
        found.sha256,
        _lengths(found.summaries.values()),
    )


def max_lines(ids: int) -> int:
    """The lines a file may have for a contest of ``ids`` rows; memory grows with them."""
    return 100_000 + 10 * ids


# --- the way of a file ------------------------------------------------------------------------------


class _Examined(NamedTuple):
    findings: Findings
    content: bytes
    sha256: str
    rows: int
    summaries: dict[str, str]  # those found, in the order of the contest's ids


def _accept(found: _Examined) -> Predictions:
    notices = found.findings.notices
    if found.findings.refused:
        problems = found.findings.problems
        raise InvalidSubmission(
            f"The file has {len(problems):,} fault{'s' * (len(problems) > 1)} and cannot be scored.",
            problems=problems,
            notices=notices,
            sha256=found.sha256,
            hint="docs/submission-format.md explains every code.",
        )
    return Predictions(found.summaries, found.sha256, notices, found.content)


def _examine_file(path: str | Path, ids: Sequence[str], columns: Columns) -> _Examined:
    findings = Findings()
    content = read_bytes(path, findings)
    if content is None:
        return _Examined(findings, b"", "", 0, {})
    return _examine(content, ids, columns, findings)


def _examine(content: bytes, ids: Sequence[str], columns: Columns, findings: Findings) -> _Examined:
    sha256 = hashlib.sha256(content).hexdigest()
    rows, summaries = 0, dict[str, str]()
    text = decode(content, max_lines(len(ids)), findings)
    wanted = frozenset(ids)
    table = split(text, (columns.id, columns.summary), wanted, findings) if text is not None else None
    if table is not None:
        layout = find_layout(table, wanted, columns, findings)
        rows = len(layout.records if layout else table.records) + len(table.uneven)
        _refuse_uneven(table, layout, wanted, findings)
        if layout is not None:
            found = _find_ids(table, layout, ids, findings)
            checked = _check_summaries(found, layout.summary, findings)
            summaries = {id: checked[id] for id in ids if id in checked}
    return _Examined(findings, content, sha256, rows, summaries)


def _lengths(summaries: Iterable[str]) -> Lengths | None:
    lengths = [len(summary) for summary in summaries]
    return Lengths(min(lengths), statistics.median(lengths), max(lengths)) if lengths else None


# --- rows that do not fit the header ----------------------------------------------------------------


def _refuse_uneven(table: Table, layout: Layout | None, ids: frozenset[str], findings: Findings) -> None:
    width = len(table.header.cells)
    for record in table.uneven:
        count = f"{len(record.cells)}" if len(record.cells) < 2 * MAX_COLUMNS else f"{2 * MAX_COLUMNS} or more"
        message = f"{count} field{'s' * (count != '1')} where the header has {width}."
        advice = _advice(record, width, layout, table.delimiter, ids)
        named = layout.id if layout else 0
        id = record.cells[named] if named < len(record.cells) and record.cells[named] in ids else None
        findings.add("E116", message + advice, line=record.line, row=record.row or None, id=id)


def _advice(record: Record, width: int, layout: Layout | None, delimiter: str, ids: frozenset[str]) -> str:
    cells = record.cells
    if len(cells) < width:
        return " Does it belong to the row above? Then that summary must be quoted as a whole."
    if layout is None:
        return ""
    if cells[layout.id] in ids and layout.summary == width - 1:
        # 40 characters show which place is meant without repeating the summary.
        summary = delimiter.join(cells[layout.summary :])[:80].replace('"', '""')
        return f' Write the summary as "{safe(summary, 40)}" if the delimiter is part of it.'
    if cells[layout.id + 1] in ids:
        return " The first column has no name in the header: was an index written?"
    return ""


# --- the ids ----------------------------------------------------------------------------------------


def _find_ids(table: Table, layout: Layout, ids: Sequence[str], findings: Findings) -> dict[str, Record]:
    """The first row of every id, in the order of the file."""
    wanted = frozenset(ids)
    found: dict[str, list[Record]] = {}
    strangers: list[Record] = []
    padded: list[Record] = []
    for record in layout.records:
        id = record.cells[layout.id]
        if id not in wanted and id.strip() in wanted:
            padded.append(record)
            id = id.strip()
        if id in wanted:
            found.setdefault(id, []).append(record)
        elif id.strip():
            strangers.append(record)
        else:
            _add(findings, "E216", "The id is empty.", record)
    _tell(findings, "N205", padded, "{} in white space; the first")
    _refuse_doubled(found, layout, findings)
    _refuse_absent(strangers, _accounted(table, found, wanted), table, layout, ids, findings)
    in_order = [id for id in ids if id in found]
    if in_order != list(found) and "E201" not in findings:
        findings.add("N206", "The rows stand in another order than in test.csv.")
    return {id: records[0] for id, records in found.items()}


def _accounted(table: Table, found: Mapping[str, list[Record]], wanted: frozenset[str]) -> set[str]:
    """The ids that stand somewhere in the file: telling that they are missing would mislead."""
    in_uneven = {cell for record in table.uneven for cell in record.cells if cell in wanted}
    return set(found) | table.broken_ids | in_uneven


def _refuse_doubled(found: Mapping[str, list[Record]], layout: Layout, findings: Findings) -> None:
    for id, records in found.items():
        if len(records) > 1:
            rows = _and([f"{record.row:,}" for record in records])
            lines = _and([f"{record.line:,}" for record in records])
            same = len({record.cells[layout.summary] for record in records}) == 1
            message = f"In data rows {rows} (file lines {lines}); {'equal' if same else 'different'} summaries."
            findings.add("E211", message, line=records[1].line, row=records[1].row, id=id)


def _and(items: list[str]) -> str:
    shown = items[:5] + ([f"{len(items) - 5:,} more"] if len(items) > 5 else [])
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _refuse_absent(
    strangers: Sequence[Record],
    accounted: set[str],
    table: Table,
    layout: Layout,
    ids: Sequence[str],
    findings: Findings,
) -> None:
    """Unknown ids, with what they may have been, and missing ones."""
    lookalikes = Lookalikes(ids) if strangers else None
    meant: set[str] = set()
    unknown: list[Record] = []
    for record in strangers:
        guess = lookalikes.guess(record.cells[layout.id]) if lookalikes else None
        if guess is None:
            unknown.append(record)
        else:
            meant.update(guess.meant)
            _add(findings, guess.code, guess.message, record, record.cells[layout.id])
    if unknown and not accounted and not meant:
        first, ours = excerpt(unknown[0].cells[layout.id], 24), excerpt(ids[0], 24)
        message = f"None of {len(unknown):,} ids; the first is {first}, and test.csv begins with {ours}."
        _add(findings, "E217", message, unknown[0])
        return
    missing = [id for id in ids if id not in accounted and id not in meant]
    similar = closest([record.cells[layout.id] for record in unknown], missing)
    for record in unknown:
        id = record.cells[layout.id]
        suggestion = f" Was {excerpt(similar[id], 24)} meant?" if id in similar else ""
        _add(findings, "E213", f"{excerpt(id)} is not in test.csv.{suggestion}", record, id)
    # Of a file without rows, or one that was not read to its end, this would say nothing new.
    if table.complete and "E117" not in findings:
        for id in missing:
            findings.add("E212", f"No row has the id {excerpt(id)}.", id=id)


# --- the summaries ----------------------------------------------------------------------------------


def _check_summaries(found: Mapping[str, Record], column: int, findings: Findings) -> dict[str, str]:
    """The summaries in NFC, by id, in the order of the file."""
    summaries: dict[str, str] = {}
    composed: list[Record] = []
    for id, record in found.items():
        summary = record.cells[column]
        if _is_refused(summary, record, id, findings):
            continue
        summaries[id] = unicodedata.normalize("NFC", summary)
        if summaries[id] != summary:
            composed.append(record)
        _warn(summaries[id], record, id, findings)
    _tell(findings, "N301", composed, "{} composed to NFC; the first")
    _warn_of_empty(found, summaries, findings)
    _warn_of_all(found, summaries, findings)
    return summaries


def _is_refused(summary: str, record: Record, id: str, findings: Findings) -> bool:
    if len(summary) > MAX_SUMMARY:
        _add(findings, "E302", f"The summary has {len(summary):,} characters.", record, id)
        return True
    # Before anything is normalised: sorting a pile of marks takes quadratic time.
    if not summary.isascii() and any(_is_pile(match.group()) for match in _PILE.finditer(summary)):
        _add(findings, "E303", f"More than {MAX_MARKS} combining marks follow one another.", record, id)
        return True
    return False


def _is_pile(characters: str) -> bool:
    run = 0
    for character in characters:
        run = run + 1 if unicodedata.combining(character) else 0
        if run > MAX_MARKS:
            return True
    return False


def _warn(summary: str, record: Record, id: str, findings: Findings) -> None:
    if len(summary) > LONG_SUMMARY:
        _add(findings, "W302", f"The summary has {len(summary):,} characters.", record, id)
    hidden = _HIDDEN.search(summary)
    if hidden:
        _add(findings, "W304", f"U+{ord(hidden.group()):04X} at character {hidden.start() + 1:,}.", record, id)
    if "\ufffd" in summary:
        _add(findings, "W305", f"{summary.count(chr(0xFFFD)):,} of them.", record, id)
    original = _misread(summary)
    if original:
        _add(findings, "W306", f"{excerpt(summary, 24)} may be {excerpt(original, 24)}.", record, id)


def _misread(summary: str) -> str:
    """What ``summary`` was before it was decoded wrongly; ``""`` where there is no sign of that."""
    if summary.isascii():
        return ""
    for wrong, right in _MISREADINGS:
        try:
            original = summary.encode(wrong).decode(right)
        except UnicodeError:
            continue
        if original != summary and len(_HANGUL.findall(original)) > 2:
            return original
    return ""


def _warn_of_empty(found: Mapping[str, Record], summaries: Mapping[str, str], findings: Findings) -> None:
    empty = [id for id, summary in summaries.items() if not _HIDDEN.sub("", summary).strip()]
    if empty and len(empty) == len(found):
        findings.add("E301", f"All {len(empty):,} summaries are empty.")
        return
    for id in empty:
        _add(findings, "W301", "The summary is empty; the row scores 0.", found[id], id)


def _warn_of_all(found: Mapping[str, Record], summaries: Mapping[str, str], findings: Findings) -> None:
    """What only shows when all summaries are seen together."""
    rows: dict[str, list[Record]] = {}
    for id, summary in summaries.items():
        if summary.strip():
            rows.setdefault(summary, []).append(found[id])
    repeated = max(rows.values(), key=len, default=[])
    if len(repeated) >= REPEATED_ROWS and len(repeated) > REPEATED_SHARE * len(summaries):
        text = excerpt(next(text for text, records in rows.items() if records is repeated), 40)
        _add(findings, "W303", f"{text} in {len(repeated):,} rows of {len(summaries):,}.", repeated[0])
    marks = Counter(summary[0] + summary[-1] for summary in summaries.values() if len(summary) > 1)
    common = max(_MARKS, key=lambda pair: marks[pair])
    if marks[common] > len(summaries) / 2:
        message = f"{marks[common]:,} of {len(summaries):,} summaries stand in {common[0]} and {common[1]}."
        findings.add("W307", message)


# --- telling ----------------------------------------------------------------------------------------


def _add(findings: Findings, code: str, message: str, record: Record, id: str | None = None) -> None:
    findings.add(code, message, line=record.line, row=record.row or None, id=id)


def _tell(findings: Findings, code: str, records: Sequence[Record], message: str) -> None:
    """One notice for all ``records``; ``{}`` in ``message`` is how many rows they are."""
    if records:
        count = f"{len(records):,} row{'s' * (len(records) > 1)}"
        first = records[0]
        _add(findings, code, f"{message.format(count)} in data row {first.row:,} (line {first.line:,}).", first)
