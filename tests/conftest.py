"""A home with a small contest, for the tests that use the program as people do."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.contest import Contest
from harness.prepare import new_contest

# Small tensors gain nothing from several threads, and the tests themselves run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

PLACES = ("시장", "도서관", "공원", "역 앞", "학교", "체육관", "미술관", "병원", "항구", "광장")
THINGS = (
    "음악회",
    "바자회",
    "전시회",
    "강연",
    "달리기 대회",
    "책 나눔",
    "요리 교실",
    "영화 상영",
    "건강 검진",
    "벼룩시장",
)


def labelled_rows(count: int = 120) -> list[dict[str, str]]:
    """Documents of three sentences, whose summary puts the first and the third together."""
    return [
        {
            "id": f"d{number}",
            "text": f"{THINGS[number % 10]} 소식이다. 올해로 {number + 2}번째이다.\n"
            f"장소는 {PLACES[number // 10 % 10]}이고 참가비는 {number * 100 + 500}원이다.",
            "summary": f"{PLACES[number // 10 % 10]}에서 {THINGS[number % 10]}, 참가비 {number * 100 + 500}원",
        }
        for number in range(count)
    ]


def write_predictions(path: Path, summaries: Mapping[str, str]) -> Path:
    """A well-formed submission."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "summary"])
        writer.writerows(summaries.items())
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with one contest, ``contests/ours``: 96 rows to train on, 24 to test."""
    source = tmp_path / "source.jsonl"
    rows = [json.dumps(row, ensure_ascii=False) for row in labelled_rows()]
    source.write_text("\n".join(rows), encoding="utf-8")
    new_contest("ours", source, into=tmp_path / "contests", seed=1)
    return tmp_path


@pytest.fixture
def ours(home: Path) -> Contest:
    """The contest in ``home``."""
    return Contest.load(home / "contests" / "ours")


@pytest.fixture
def answers(ours: Contest) -> dict[str, str]:
    """Perfect predictions."""
    return {answer.id: answer.references[0] for answer in ours.answers}
