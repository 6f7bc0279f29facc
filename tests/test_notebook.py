"""The Colab notebook, executed as it is but for two steps of training instead of all."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "colab.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_notebook_trains_hands_in_and_shows_the_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell runs; the team is on the board, and the frame has its row."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source = re.sub(r"STEPS = 0", "STEPS = 2", parameters.source)
    parameters.source = parameters.source.replace('"leaderboard.db"', f'"{tmp_path / "board.db"}"')
    assert "STEPS = 2" in parameters.source
    for cell in notebook.cells:
        cell.source = cell.source.replace("runs/notebook", str(tmp_path))
        cell.source = cell.source.replace("--max-steps {STEPS}", "--max-steps {STEPS} --dev-size 4")
    client = NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    client.execute()
    printed = "\n".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "500 summaries written" in printed
    assert re.search(r"^1 +우리팀", printed, re.MULTILINE)
    assert "better than noise" in printed or "better than as set" in printed
    assert "우리팀" in str(notebook.cells[-1].outputs)
