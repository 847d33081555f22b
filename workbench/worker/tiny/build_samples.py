"""Writes the sample sets as JSON lines: `python -m workbench.worker.tiny.build_samples [--out sample_data]`.

Owns the files' names and layout; the rows come from `tasks`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from workbench.worker.tiny.tasks import Row, sample_sets
from workbench.worker.tiny.world import load_world, sample_data


def write_rows(path: Path, rows: list[Row]) -> None:
    """One row a line, UTF-8."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Write every sample set and print its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="the shipped sample_data folder unless given")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    folder = arguments.out or sample_data()
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in sample_sets(load_world(), arguments.seed).items():
        path = folder / f"{name}.jsonl"
        write_rows(path, rows)
        print(f"{len(rows):4d} rows  {path}")


if __name__ == "__main__":
    main()
