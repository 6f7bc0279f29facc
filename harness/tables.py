"""Results as a person or a program reads them: terminal, Markdown, CSV, JSON.

A ``Grid`` says what there is to show; the ``as_…`` functions write it. On a narrow terminal columns are
dropped, the least important first, rather than wrapped. Every text passes through ``safe``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from harness.text import safe, without_formula

OutputFormat: TypeAlias = Literal["table", "markdown", "csv", "json"]
Row: TypeAlias = Mapping[str, Any]

MAX_CELL = 60  # characters of one cell in a terminal
GAP = 2  # cells between two columns: one of padding, one of the box


def plain(value: Any) -> str:
    """A value as text: nothing for ``None``, nested values as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def score_text(value: float | None) -> str:
    """A score to four decimals without the leading zero: ``.4312``, ``1.0000``; ``-`` for none."""
    return "-" if value is None else f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.4f}"


def interval_text(value: tuple[float, float] | None) -> str:
    """An interval to three decimals: ``.411 - .452``."""
    if value is None:
        return ""
    low, high = (f"{end:.3f}".removeprefix("0") for end in value)
    return f"{low} - {high}"


def signed_text(value: float) -> str:
    """A difference with its sign: ``+.0059``, ``-.0100``."""
    return f"{value:+.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:+.4f}"


@dataclass(frozen=True)
class Column:
    """One column: the key of its values, its title, and how a value is shown.

    ``drop`` above 0 lets the column go where there is no room, the highest first. ``write`` is for
    people; CSV and JSON take the values as they are. ``only`` keeps a column to what people read
    (terminal, Markdown) or to what programs read (CSV); JSON holds every value of the rows.
    """

    key: str
    title: str
    align: Literal["left", "right"] = "left"
    drop: int = 0
    write: Callable[[Any], str] = plain
    only: Literal["", "people", "programs"] = ""


@dataclass(frozen=True)
class Grid:
    """A table: a title, columns, rows (key to value), lines below it, and facts about the whole."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    title: str = ""
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    rows_key: str = "rows"
    dim: Callable[[Row], bool] = lambda row: False
    empty: str = "Nothing here yet."

    def cells(self, column: Column) -> list[str]:
        """The column's values as shown, title not included."""
        return [safe(column.write(row.get(column.key)), MAX_CELL) for row in self.rows]


def render(grid: Grid, form: OutputFormat) -> str:
    """``grid`` as Markdown, CSV or JSON; a terminal's table is made by ``as_table``."""
    writers: dict[str, Callable[[Grid], str]] = {"markdown": as_markdown, "csv": as_csv, "json": as_json}
    return writers[form](grid)


def as_json(grid: Grid) -> str:
    """Everything, with the facts about the whole first."""
    return json.dumps({**grid.facts, grid.rows_key: list(grid.rows)}, ensure_ascii=False, indent=2, default=str)


def as_csv(grid: Grid) -> str:
    """One line a row, titles as keys; texts that a spreadsheet would calculate are quoted."""
    columns = [column for column in grid.columns if column.only != "people"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(without_formula(column.key) for column in columns)
    for row in grid.rows:
        writer.writerow(_csv_value(row.get(column.key)) for column in columns)
    return buffer.getvalue().rstrip("\n")


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    return without_formula(safe(plain(value)))


def as_markdown(grid: Grid) -> str:
    """A GitHub table, with the notes below it."""
    columns = for_people(grid)
    lines = [
        "| " + " | ".join(_markdown(column.title) for column in columns) + " |",
        "|" + "|".join("---:" if column.align == "right" else "---" for column in columns) + "|",
    ]
    by_column = [grid.cells(column) for column in columns]
    lines.extend("| " + " | ".join(map(_markdown, cells)) + " |" for cells in zip(*by_column, strict=True))
    notes = [f"\n{_markdown(note)}" for note in grid.notes]
    title = [f"**{_markdown(grid.title)}**\n"] if grid.title else []
    return "\n".join([*title, *lines, *notes])


def for_people(grid: Grid) -> list[Column]:
    """The columns that a terminal or a Markdown page shows."""
    return [column for column in grid.columns if column.only != "programs"]


def _markdown(text: str) -> str:
    escaped = safe(text).replace("\\", "\\\\")
    for character in "|`*_[]<>#~":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped


def as_table(grid: Grid, width: int | None) -> Any:
    """A rich renderable of at most ``width`` cells; ``None`` keeps every column whole."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = [Text(safe(grid.title), style="bold")] if grid.title else []
    if grid.rows:
        columns = fitting(grid, width)
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        for column in columns:
            table.add_column(Text(safe(column.title)), justify=column.align, no_wrap=True, overflow="ellipsis")
        for row, cells in zip(grid.rows, zip(*map(grid.cells, columns), strict=True), strict=True):
            table.add_row(*map(Text, cells), style="dim" if grid.dim(row) else None)
        parts.append(table)
    else:
        parts.append(Text(grid.empty))
    parts.extend(Text(safe(note), style="dim") for note in grid.notes)
    return Group(*parts)


def fitting(grid: Grid, width: int | None) -> list[Column]:
    """The columns that fit into ``width`` cells, dropped by their ``drop``, the highest first."""
    from rich.cells import cell_len

    kept = for_people(grid)
    if width is None:
        return kept
    needs = {
        column.key: GAP + max(map(cell_len, [column.title, *grid.cells(column)]), default=0) for column in kept
    }
    for column in sorted((column for column in kept if column.drop), key=lambda column: -column.drop):
        if sum(needs[item.key] for item in kept) <= width + GAP:
            break
        kept.remove(column)
    return kept


_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 8) -> str:
    """The last ``width`` values as bars between their lowest and highest: ``▁▃▄▅█``."""
    last = list(values)[-width:]
    if len(last) < 2:
        return ""
    low, high = min(last), max(last)
    if high == low:
        return _BARS[3] * len(last)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in last)
