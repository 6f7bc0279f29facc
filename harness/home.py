"""Where things lie: the folder that holds the contests, the board and the archive."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from harness.errors import ContestError

BOARD_NAME = "leaderboard.db"
SAMPLE_CONTEST = "mini"


def find_home(start: Path) -> Path:
    """The nearest folder from ``start`` upwards that holds contests or a board; else ``start`` itself.

    So a command typed in a subfolder of the project finds the same board as one typed at its top.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / BOARD_NAME).is_file() or any(folder.glob("contests/*/contest.toml")):
            return folder
    return start


def find_contest(home: Path, wanted: str | None) -> Path:
    """The contest folder that ``wanted`` means: a folder's path, or the name of one in ``contests/``.

    Without ``wanted`` it is the only one there is, else the sample contest.

    Raises:
        ContestError: there is none, or several and none was named.
    """
    names = sorted(path.parent.name for path in home.glob("contests/*/contest.toml"))
    if wanted is None:
        if len(names) == 1:
            return home / "contests" / names[0]
        if SAMPLE_CONTEST in names:
            return home / "contests" / SAMPLE_CONTEST
        raise ContestError(
            f"Which contest? {_known(names)}",
            hint="Name one with --contest NAME or MATBOGI_CONTEST, or make one: "
            "python cli.py contest new NAME --from FILE",
        )
    if wanted in names:
        return home / "contests" / wanted
    if (Path(wanted) / "contest.toml").is_file():
        return Path(wanted)
    near = get_close_matches(wanted, names, n=1)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    raise ContestError(f"There is no contest {wanted!r}. {meant}{_known(names)}")


def _known(names: list[str]) -> str:
    return f"There are: {', '.join(names)}." if names else "There is no folder contests/ with one in it."
