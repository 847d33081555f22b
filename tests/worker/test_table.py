"""Arrow in and out, against ``datasets`` itself: calls of tools keep their own arguments, JSON is JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from workbench.worker import table

pytestmark = pytest.mark.ml


def called(name: str, **arguments: object) -> dict[str, Any]:
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]}


def arguments_of(row: dict[str, Any]) -> object:
    return row["messages"][1]["tool_calls"][0]["function"]["arguments"]


ROWS = [called("weather", city="Bonn"), called("sum", of=[1, None]), called("now")]


def saved(folder: Path, rows: list[dict[str, Any]], *, parquet: bool, **how: object) -> str:
    import datasets

    datasets.disable_progress_bars()
    made = datasets.Dataset.from_list(rows, **how)
    path = folder / ("rows.parquet" if parquet else "rows")
    made.to_parquet(path) if parquet else made.save_to_disk(path)
    return str(path)


@pytest.mark.parametrize("parquet", [True, False], ids=["parquet", "saved"])
def test_a_call_comes_without_the_arguments_that_arrow_lent_it_from_other_rows(tmp_path: Path, parquet: bool) -> None:
    found = list(table.read(saved(tmp_path, ROWS, parquet=parquet), ""))
    assert [arguments_of(row) for row in found] == [{"city": "Bonn"}, {"of": [1, None]}, {}]
    assert [set(row["messages"][0]) for row in found] == [{"role", "content"}] * 3


@pytest.mark.parametrize("parquet", [True, False], ids=["parquet", "saved"])
def test_what_datasets_keeps_as_json_comes_as_it_was_nulls_too(tmp_path: Path, parquet: bool) -> None:
    rows = [called("weather", city=None), called("sum", city=3)]
    found = list(table.read(saved(tmp_path, rows, parquet=parquet, on_mixed_types="use_json"), ""))
    assert [row["messages"] for row in found] == [row["messages"] for row in rows]


def test_a_column_of_nothing_stays_to_be_told_from_one_that_is_missing(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": None}, {"prompt": "b", "completion": "c"}]
    assert list(table.read(saved(tmp_path, rows, parquet=True), "")) == rows


@pytest.mark.parametrize("kind", ["parquet", "dataset"])
def test_arguments_that_were_written_are_objects_for_datasets(tmp_path: Path, kind: str) -> None:
    import datasets

    lines = []
    for row in ROWS:
        one = json.loads(json.dumps(row))
        function = one["messages"][1]["tool_calls"][0]["function"]
        function["arguments"] = json.dumps(function["arguments"])
        lines.append(json.dumps(one))
    to = tmp_path / "out"
    table.write(io.BytesIO("\n".join(lines).encode()), kind, to)
    if kind == "dataset":
        found = datasets.load_from_disk(str(to))
    else:
        found = datasets.Dataset.from_parquet(str(to), cache_dir=str(tmp_path / "cache"))
    assert [arguments_of(row) for row in found] == [arguments_of(row) for row in ROWS]


def test_rows_of_a_folder_of_the_hub_say_which_split_they_are_of(tmp_path: Path) -> None:
    from workbench.errors import DataError

    for name in ("train_sft", "test_sft"):
        Path(saved(tmp_path, [{"prompt": name}], parquet=True)).rename(tmp_path / f"{name}-00000-of-00001.parquet")
    assert [row["split"] for row in table.read(str(tmp_path), "")] == ["test_sft", "train_sft"]
    assert [row["prompt"] for row in table.read(str(tmp_path), "test_sft")] == ["test_sft"]
    with pytest.raises(DataError, match="no split 'dev'"):
        list(table.read(str(tmp_path), "dev"))
