"""What checking the bombs of tests/hostile_files.py costs: CPU seconds and the largest memory of the process.

    python benchmarks/checking.py

Each file is written to a temporary folder and checked by a Python process of its own. Seconds are those of
the check, without Python's start; memory is read from /proc, so it needs Linux. The aim is 2 seconds and
300 MB for each. pandas.read_csv is timed on the same files, where it is installed; "-" means that it
raised, gave up, or was stopped after 20 s.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from hostile_files import BOMBS, IDS  # noqa: E402
from test_submission import CHECK  # noqa: E402

PANDAS = """
import json, sys, time
import pandas
begin = time.process_time()
pandas.read_csv(sys.argv[1], dtype=str, keep_default_na=False)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = int(status["VmHWM"].split()[0]) * 1024
print(json.dumps({"seconds": time.process_time() - begin, "peak": peak}))
"""


def run(code: str, path: Path) -> tuple[float, float] | None:
    """Seconds and MB of one process that reads ``path``; ``None`` where it failed."""
    command = [sys.executable, "-c", code, str(path), json.dumps(IDS)]
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    found = json.loads(result.stdout)
    return found["seconds"], found["peak"] / 2**20


def main() -> None:
    """Check every bomb and print the table."""
    print(f"{'bomb':<48}{'seconds':>9}{'MB':>7}{'pandas s':>12}{'MB':>7}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preds.csv"
        for bomb in BOMBS:
            with path.open("wb") as file:
                file.writelines(bomb.chunks())
            ours, theirs = run(CHECK, path), run(PANDAS, path)
            cells = [f"{ours[0]:9.2f}{ours[1]:7.0f}" if ours else f"{'-':>9}{'-':>7}"]
            cells.append(f"{theirs[0]:12.2f}{theirs[1]:7.0f}" if theirs else f"{'-':>12}{'-':>7}")
            print(f"{bomb.name:<48}" + "".join(cells))


if __name__ == "__main__":
    main()
