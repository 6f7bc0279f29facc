"""Labelled rows to score against at home: a dev split, one's own annotations, an answers file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.contest import SPLITS, Answer, Columns, Split, read_table, reference_columns
from harness.errors import NotAuthorised, UsageError


def read_references(path: Path, columns: Columns) -> tuple[Answer, ...]:
    """The references of a labelled file, in its order.

    A CSV needs the contest's id and summary columns (``summary2``, … are further references); a column
    ``split`` of ``public`` and ``private`` is kept, otherwise every row counts as public. JSONL, JSON and
    Parquet are read as ``contest new`` reads them.

    Raises:
        HarnessError: the file cannot be read, holds no rows, or an id twice.
    """
    answers = _from_csv(path, columns) if path.suffix.lower() == ".csv" else _from_labelled(path, columns)
    if not answers:
        raise UsageError(f"{path} holds no rows, so there is nothing to score against.")
    doubled = [name for name, count in Counter(answer.id for answer in answers).items() if count > 1]
    if doubled:
        shown = ", ".join(map(repr, doubled[:3]))
        raise UsageError(f"{path} holds {len(doubled)} id(s) more than once: {shown}.")
    return answers


def refuse_hidden(path: Path) -> None:
    """Nothing shows the answers of a contest row by row.

    Raises:
        NotAuthorised: ``path`` is the answers file of a contest folder.
    """
    folder = path.resolve().parent
    if folder.name == "private" and (folder.parent / "contest.toml").exists():
        raise NotAuthorised(
            f"{path} holds the hidden references of a contest; they are not shown row by row.",
            hint="Take labelled rows of your own, such as a part of train.csv.",
        )


def _from_csv(path: Path, columns: Columns) -> tuple[Answer, ...]:
    rows = read_table(path, [columns.id, columns.summary])
    names = reference_columns(list(rows[0]), columns.summary) if rows else []
    return tuple(Answer(row[columns.id], _references(row, names), _split(row)) for row in rows)


def _references(row: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    first, *others = (row[name] for name in names)
    return (first, *(other for other in others if other.strip()))


def _split(row: Mapping[str, str]) -> Split:
    for split in SPLITS:
        if row.get("split") == split:
            return split
    return "public"


def _from_labelled(path: Path, columns: Columns) -> tuple[Answer, ...]:
    from harness.sources import read_labelled

    source = read_labelled(path)
    if source.columns.id is None:
        raise UsageError(f"{path} has no ids, so predictions cannot be matched with its rows.")
    rows = {row.place: [text for text in row.references if text.strip()] for row in source.rows}
    empty = [place for place, references in rows.items() if not references]
    if empty:
        raise UsageError(f"{path} has {len(empty)} row(s) without a summary: {', '.join(empty[:3])}.")
    return tuple(Answer(row.id, tuple(rows[row.place]), "public") for row in source.rows)
