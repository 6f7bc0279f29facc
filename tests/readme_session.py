"""Replays the console sessions of a README, and can write them anew.

``python tests/readme_session.py README.md`` runs every ``$ python cli.py …`` line of the ``console`` blocks,
one after another in a fresh home with the sample contest, and writes what they print below them. Where the
page shows ``…`` instead, the command is run and its output left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LEFT_OUT = "…"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


class Step(NamedTuple):
    """One command of a session, and what it printed according to the page."""

    command: str
    output: str


def steps(page: str) -> list[Step]:
    """Every command in the console blocks of ``page``, in order."""
    return [
        Step(command, output.strip("\n"))
        for block in BLOCK.findall(page)
        for command, _, output in (
            part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
        )
    ]


def make_home(folder: Path) -> Path:
    """A folder as a newcomer has it: the sample contest, no board."""
    target = folder / "contests" / "mini"
    shutil.copytree(
        ROOT / "contests" / "mini", target, ignore=shutil.ignore_patterns("generator", "__pycache__")
    )
    return folder


def run(command: str, home: Path) -> str:
    """What a terminal of 88 columns shows for ``command``: both streams, as they come."""
    words = re.findall(r'"[^"]*"|\S+', command)
    assert words[:2] == ["python", "cli.py"], f"the session may only use cli.py: {command}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATBOGI")}
    result = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *(word.strip('"') for word in words[2:])],
        cwd=home, env={**environment, "COLUMNS": "88", "NO_COLOR": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False,
    )  # fmt: skip
    lines = result.stdout.replace(str(home) + os.sep, "").splitlines()
    # The folder of a run is named by the clock.
    return "\n".join(re.sub(r"runs/\d{8}-\d{6}-", "runs/TIME-", line.rstrip()) for line in lines).strip("\n")


def replay(page: str, home: Path) -> Iterator[tuple[Step, str]]:
    """Each step with what it prints now."""
    for step in steps(page):
        yield step, run(step.command, home)


def rewrite(path: Path) -> None:
    """Write the sessions of ``path`` anew."""
    page = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        printed = replay(page, make_home(Path(folder)))

        def block(match: re.Match[str]) -> str:
            parts = [
                f"$ {step.command}\n{step.output if step.output == LEFT_OUT else output}\n"
                for step, output in (next(printed) for _ in steps(match[0]))
            ]
            return "```console\n" + "".join(part.replace("\n\n", "\n", 1) for part in parts) + "```"

        page = BLOCK.sub(block, page)
    path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        rewrite(Path(name))
