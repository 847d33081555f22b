"""Rows of Parquet files, saved datasets and hub datasets as JSON lines, and JSON lines as such files.

``python -m workbench.worker.table read PATH [--split S]`` prints a JSON object for each row; ``write parquet|dataset
OUT`` reads them from standard input. A line that begins with ``!`` says why it cannot be done.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from workbench.errors import DataError, WorkbenchError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 500
BINARY = "<binary>"


def main() -> int:
    """Read or write, and end with 0 even after a refusal: it was said in words."""
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    reading = verbs.add_parser("read")
    reading.add_argument("source")
    reading.add_argument("--split", default="")
    writing = verbs.add_parser("write")
    writing.add_argument("kind", choices=["parquet", "dataset"])
    writing.add_argument("to", type=Path)
    args = parser.parse_args()
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", errors="surrogatepass")
    try:
        if args.verb == "read":
            _print(read(args.source, args.split), out)
        else:
            write(sys.stdin.buffer, args.kind, args.to)
    except WorkbenchError as error:
        out.write("!" + json.dumps({"message": error.message, "hint": error.hint}) + "\n")
    except Exception as error:  # noqa: BLE001 - the worker's main
        out.write("!" + json.dumps({"message": _plain(error)}) + "\n")
    out.flush()
    return 0


def _print(rows: Iterable[dict[str, Any]], out: IO[str]) -> None:
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=False, default=_as_json) + "\n")


def _as_json(value: object) -> object:
    return BINARY if isinstance(value, bytes) else str(value)


def _plain(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


def read(source: str, split: str) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, a folder of them, a saved dataset, or a hub id."""
    path = Path(source)
    if path.is_file():
        return _parquet(path)
    if path.is_dir() and any((path / name).exists() for name in ("state.json", "dataset_dict.json")):
        return _saved(path, split)
    if path.is_dir():
        return _parquets(sorted(path.rglob("*.parquet")), split)
    return _hub(source, split)


def _parquets(paths: list[Path], split: str) -> Iterator[dict[str, Any]]:
    """The rows of a folder; the files of a dataset of the hub are called after their splits."""
    named = {path: found[1] if (found := _SHARD.fullmatch(path.name)) else "" for path in paths}
    if split and split not in named.values():
        known = ", ".join(dict.fromkeys(filter(None, named.values()))) or "none"
        raise DataError(f"there is no split {split!r}", hint=f"known: {known}")
    for path, name in named.items():
        if split in ("", name):
            yield from ({"split": name} | row if name else row for row in _parquet(path))


_SHARD = re.compile(r"(\w+)-\d{5}-of-\d{5}\.parquet")


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            features = _features(file.schema_arrow)
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                yield from (_as_meant(row, features, is_decoded=False) for row in batch.to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"this is not a Parquet file that can be read: {_plain(error)}") from None


def _saved(path: Path, split: str) -> Iterator[dict[str, Any]]:
    import datasets

    try:
        found = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"the saved dataset cannot be read: {_plain(error)}") from None
    yield from _splits(found, split)


def _splits(found: Any, split: str) -> Iterator[dict[str, Any]]:
    if not isinstance(found, dict):
        yield from _rows(found, "")
        return
    if split and split not in found:
        raise DataError(f"there is no split {split!r}", hint=f"known: {', '.join(found)}")
    for name, rows in found.items():
        if split in ("", name):
            yield from _rows(rows, name)


def _rows(rows: Any, split: str) -> Iterator[dict[str, Any]]:
    """Rows as they are; in a dataset of several splits each says which one it is of."""
    features = _with_json(rows.features) if rows.features is not None else {}
    for row in rows:
        meant = _as_meant(row, features, is_decoded=True)
        yield {"split": split} | meant if split else meant


def _features(schema: pa.Schema) -> dict[str, Any]:
    """The columns of a file of ``datasets`` that hold its type ``Json`` somewhere, with their types."""
    if b'"Json"' not in (schema.metadata or {}).get(b"huggingface", b""):
        return {}
    import datasets

    return _with_json(datasets.Features.from_arrow_schema(schema))


def _with_json(features: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kind for name, kind in features.items() if "Json(" in repr(kind)}


def _as_meant(row: dict[str, Any], features: Mapping[str, Any], *, is_decoded: bool) -> dict[str, Any]:
    """The row as it was put in: JSON as values, and no keys that only other rows have.

    An Arrow column has one type for all rows, so each call of a tool got the arguments of all others, null; what was
    kept as JSON has its own keys, and its nulls are meant.
    """
    if features and not is_decoded:
        import datasets

        kept = {name: row[name] for name in features}
        row |= datasets.Features(features).decode_example(kept)
    return {name: value if name in features else _without_none(value) for name, value in row.items()}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _hub(source: str, split: str) -> Iterator[dict[str, Any]]:
    import datasets

    name, _, config = source.removeprefix("hf:").partition(":")
    try:
        found = datasets.load_dataset(name, config or None, split=split or None, streaming=True)
    except (OSError, ValueError) as error:
        hint = "is the name right, and is this machine online?"
        if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
            hint = "HF_HUB_OFFLINE is set"
        raise DataError(f"the dataset {name!r} cannot be loaded from the hub: {_plain(error)}", hint=hint) from None
    yield from _splits(found, split) if isinstance(found, dict) else _rows(found, split)


def write(lines: IO[bytes], kind: str, to: Path) -> None:
    """Write the rows with one schema for all of them; in memory there is never more than a batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as copy:
        schema: pa.Schema | None = None
        for batch in _batches(lines):
            # All names of the batch: pyarrow would take those of its first row alone.
            names = dict.fromkeys(name for row in batch for name in row)
            found = pa.table({name: [row.get(name) for row in batch] for name in names}).schema
            schema = found if schema is None else pa.unify_schemas([schema, found], promote_options="permissive")
            copy.writelines(json.dumps(row).encode() + b"\n" for row in batch)
        if schema is None:
            raise DataError("there are no rows to write")
        copy.seek(0)
        schema = _without_nulls(schema)
        tables = _with_arguments(pa.Table.from_pylist(batch, schema=schema) for batch in _batches(copy))
        if kind == "dataset":
            _save(tables, to)
            return
        first = next(tables)
        with pq.ParquetWriter(to, first.schema) as writer:
            for table in chain([first], tables):
                writer.write_table(table)


def _with_arguments(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The tables with the arguments of tool calls in datasets' type ``Json``: a chat template gets objects of them.

    As texts they would be quoted once more; as columns every call would have the arguments of all.
    """
    target: pa.Schema | None = None
    for table in tables:
        if not _has_arguments(table.schema):
            yield table
            continue
        import datasets
        from datasets.table import table_cast

        target = (
            target
            or datasets.Features(
                {
                    name: _json_arguments(kind)
                    for name, kind in datasets.Features.from_arrow_schema(table.schema).items()
                }
            ).arrow_schema
        )
        yield table_cast(table, target)


def _has_arguments(schema: pa.Schema) -> bool:
    return "arguments: string" in schema.to_string(truncate_metadata=False)


def _json_arguments(kind: Any) -> Any:
    import datasets

    if isinstance(kind, datasets.List):
        return datasets.List(_json_arguments(kind.feature))
    if isinstance(kind, dict):
        return {key: datasets.Json() if key == "arguments" else _json_arguments(item) for key, item in kind.items()}
    return kind


def _save(tables: Iterable[pa.Table], to: Path) -> None:
    import datasets
    import pyarrow as pa

    with tempfile.TemporaryDirectory(dir=to.parent) as folder:
        path = Path(folder) / "rows.arrow"
        with pa.OSFile(str(path), "wb") as sink:
            writer = None
            for table in tables:
                writer = writer or pa.ipc.new_stream(sink, table.schema)
                writer.write_table(table)
            assert writer is not None
            writer.close()
        datasets.disable_progress_bars()
        datasets.Dataset.from_file(str(path)).save_to_disk(str(to))


def _batches(lines: IO[bytes]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for line in lines:
        batch.append(json.loads(line))
        if len(batch) == _ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _without_nulls(schema: pa.Schema) -> pa.Schema:
    """Columns in which nothing was ever seen become texts: no file format keeps a type without values."""
    import pyarrow as pa

    def typed(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_null(kind):
            return pa.string()
        if pa.types.is_list(kind):
            return pa.list_(typed(kind.value_type))
        if pa.types.is_struct(kind):
            fields = [kind.field(at) for at in range(kind.num_fields)]
            return pa.struct([pa.field(field.name, typed(field.type)) for field in fields])
        return kind

    return pa.schema([pa.field(field.name, typed(field.type)) for field in schema])


if __name__ == "__main__":
    sys.exit(main())
