"""Write the sample contest again, or look at what the generator makes.

::

    python -m contests.mini.generator                      # writes contests/mini, to the byte
    python -m contests.mini.generator --preview news -n 3  # prints three news documents
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from contests.mini.generator.corpus import GENRES, Corpus, row_ids
from contests.mini.generator.drawing import Draw
from contests.mini.generator.topic import Document

SEED = 20230320  # the day the real contest began
TRAIN_ROWS, TEST_ROWS, PUBLIC_ROWS = 2_000, 500, 250

Row = Sequence[str]


def write_contest(folder: Path) -> None:
    """Write the four tables of the sample contest into ``folder``."""
    documents = list(Corpus(SEED).documents(TRAIN_ROWS + TEST_ROWS))
    draw = Draw(f"{SEED} rows")
    documents = draw.shuffled(documents)
    ids = row_ids(draw, len(documents))
    train = list(zip(ids[:TRAIN_ROWS], documents[:TRAIN_ROWS], strict=True))
    test = list(zip(ids[TRAIN_ROWS:], documents[TRAIN_ROWS:], strict=True))
    public = set(draw.sample(range(TEST_ROWS), PUBLIC_ROWS))
    split = ["public" if row in public else "private" for row in range(TEST_ROWS)]

    _write(folder / "train.csv", "id,text,summary", ((name, item.text, item.summary) for name, item in train))
    _write(folder / "test.csv", "id,text", ((name, item.text) for name, item in test))
    _write(folder / "sample_submission.csv", "id,summary", ((name, "") for name, _ in test))
    answers = ((name, item.summary, board) for (name, item), board in zip(test, split, strict=True))
    _write(folder / "private" / "answers.csv", "id,summary,split", answers)


def _write(path: Path, header: str, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


def show(document: Document) -> str:
    """One document as a person reads it."""
    return f"[{document.topic}]\n{document.text}\n=> {document.summary} ({len(document.summary)})\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m contests.mini.generator", description=__doc__)
    parser.add_argument("--into", type=Path, default=Path(__file__).parents[1], help="the contest folder")
    parser.add_argument("--preview", choices=list(GENRES), help="print documents of one genre instead")
    parser.add_argument("-n", type=int, default=5, help="how many to print")
    parser.add_argument("--seed", type=int, default=1, help="seed of the preview")
    options = parser.parse_args(arguments)
    if options.preview:
        for document in Corpus(options.seed, {options.preview: 1}).documents(options.n):
            sys.stdout.write(show(document) + "\n")
    else:
        write_contest(options.into)


if __name__ == "__main__":
    main()
