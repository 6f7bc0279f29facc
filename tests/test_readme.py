"""What the READMEs show is what the program prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from readme_session import LEFT_OUT, ROOT, make_home, replay, steps

PAGES = ("README.md", "README.ko.md")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_session_prints_what_the_page_shows(name: str, tmp_path: Path) -> None:
    """Every command, in order, in a fresh home, to the character; all of them print something."""
    page = (ROOT / name).read_text(encoding="utf-8")
    assert len(steps(page)) >= 5
    for step, printed in replay(page, make_home(tmp_path)):
        assert step.output in (LEFT_OUT, printed), step.command
        assert printed


@pytest.mark.parametrize("name", PAGES)
def test_the_board_is_on_the_first_screen(name: str) -> None:
    """Within the first 45 lines a reader has seen the board."""
    head = (ROOT / name).read_text(encoding="utf-8").splitlines()[:45]
    assert any("95% interval" in line for line in head)


@pytest.mark.parametrize(
    "path", [*PAGES, *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]
)
def test_links_lead_somewhere(path: str) -> None:
    """Every relative link names a file of the project."""
    page = ROOT / path
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
