"""Mutated files of every format and container: each is taken whole or refused with a line, and nothing else happens.

300 inputs by default; ``WORKBENCH_FUZZ=10000`` (or any number) for the full count.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.domain.queries import Query
from workbench.errors import WorkbenchError
from workbench.flows import exchange
from workbench.flows.bench import Bench
from workbench.paths import shipped

INPUTS = int(os.environ.get("WORKBENCH_FUZZ", "300"))
SAMPLES = sorted(path for path in (shipped("sample_data") / "formats").rglob("*") if path.is_file())
SAMPLES = [path for path in SAMPLES if path.name != "dataset_info.json"]
pytestmark = pytest.mark.timeout(3600)

BYTES = [
    b"\x00",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\n",
    b"\r",
    b'"',
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
]
BYTES += [
    b"\\ud800",
    b"null",
    b"1e999",
    b"NaN",
    b"-",
    b"\xef\xbb\xbf",
    b"\x1f\x8b",
    b"PAR1",
    b"(\xb5/\xfd",
    b"\t",
    b";",
]
VALUES: list[object] = [None, True, 0, -1, 1.5, "", " ", "x", [], {}, [[]], [{}], [None], {"role": None}, "[", "\ud800"]
VALUES += [[{"role": "user"}], [{"role": "assistant", "content": [{"type": "image"}]}], {"from": 1}, ["a", "b"], "true"]


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def drop(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.randint(1, 30) :]


def insert(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + draw.choice(BYTES) + data[at:]


def flip(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]


def twice(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    part = data[start : start + draw.randint(1, 200)]
    return data[:start] + part + data[start:]


def swap_values(data: bytes, draw: random.Random) -> bytes:
    """One value anywhere in the JSON of one row, as something else."""
    lines = data.split(b"\n")
    at = draw.randrange(len(lines))
    try:
        row = json.loads(lines[at] or b"x")
    except ValueError:
        return insert(data, draw)
    lines[at] = json.dumps(_swapped(row, draw)).encode()
    return b"\n".join(lines)


def _swapped(value: object, draw: random.Random) -> object:
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(list(value))
        if draw.random() < 0.15:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: _swapped(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        at = draw.randrange(len(value))
        return [*value[:at], _swapped(value[at], draw), *value[at + 1 :]]
    return draw.choice(VALUES)


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [cut, drop, insert, flip, twice, swap_values, swap_values]


def mutated(seed: int) -> tuple[str, bytes]:
    """A file name and its bytes, one to three steps away from a shipped sample."""
    draw = random.Random(seed)
    sample = draw.choice(SAMPLES)
    name, data = sample.name, sample.read_bytes()
    for _ in range(draw.randint(1, 3)):
        data = draw.choice(MUTATIONS)(data or b"x", draw)
    if draw.random() < 0.1:
        name, data = f"{name}.gz", gzip.compress(data)
        data = draw.choice(MUTATIONS[:5])(data, draw) if draw.random() < 0.5 else data
    if draw.random() < 0.1:
        name = draw.choice(["rows", "rows.csv", "rows.json", "rows.jsonl", "rows.txt", "rows.tsv"])
    return name, data


def take(bench: Bench, path: Path, *, skip_bad: bool) -> str:
    """Import a file as a person would; the kind of its refusal, or nothing. Anything but a plain error goes through."""
    before = bench.store.examples.count(Query())
    try:
        report = exchange.import_file(bench, path, dataset="d", skip_bad=skip_bad)
    except WorkbenchError as error:
        assert error.message and "Traceback" not in error.message
        assert error.where.startswith(str(path)), (error.where, error.message)
        is_whole = error.where == str(path)
        line = error.where.removeprefix(f"{path}:")
        assert is_whole or int(line) >= 1
        assert not is_whole or any(word in error.message for word in WHOLE), error.message
        assert bench.store.examples.count(Query()) == before, "a partial import"
        return "whole" if is_whole else "line"
    assert bench.store.examples.count(Query()) == before + report.imported
    assert report.imported + report.duplicates == sum(report.kinds.values())
    assert skip_bad or report.skipped == 0
    assert all(error.line >= 1 and error.reason for error in report.errors)
    return ""


# What may be said of a file as a whole: nothing in it has a line.
WHOLE = ("no rows", "this is ", "is broken", "are not known", "breaks off", "cannot be read")


def test_mutated_files_are_taken_whole_or_refused_by_a_line(bench: Bench, tmp_path: Path) -> None:
    outcomes: dict[str, int] = {}
    for seed in range(INPUTS):
        name, data = mutated(seed)
        path = tmp_path / name
        path.write_bytes(data)
        try:
            outcome = take(bench, path, skip_bad=seed % 3 == 0)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {name}") from error
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        path.unlink()
    print(f"\nfuzz: {INPUTS} inputs, {outcomes}")
    assert outcomes.get("", 0) > INPUTS / 20 and outcomes.get("line", 0) > INPUTS / 5
    assert bench.store.read().execute("SELECT count(*) FROM imports WHERE state <> 'done'").fetchone()[0] == 0


@settings(
    max_examples=max(30, INPUTS // 10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_bytes_under_any_name_are_taken_whole_or_refused(bench: Bench, tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt", "a", "a.kiln", "a.jsonl.zst"]))
    alphabet = '[]{}":,; \t\r\n\\udq1"promptcompletion'
    content = data.draw(st.binary(max_size=80) | st.text(alphabet=alphabet, max_size=80).map(str.encode))
    path = tmp_path / name
    path.write_bytes(content)
    take(bench, path, skip_bad=data.draw(st.booleans()))
