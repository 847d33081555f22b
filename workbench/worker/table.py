"""Rows of Parquet files, saved datasets and hub datasets as JSON lines, and JSON lines as such files.

``python -m workbench.worker.table read PATH [--split S]`` prints a JSON object for each row; ``write parquet|dataset
OUT`` reads them from standard input. A line that begins with ``!`` says why it cannot be done.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
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
        return _parquet([path])
    if path.is_dir() and any((path / name).exists() for name in ("state.json", "dataset_dict.json")):
        return _saved(path, split)
    if path.is_dir():
        return _parquet(sorted(path.rglob("*.parquet")))
    return _hub(source, split)


def _parquet(paths: list[Path]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                    yield from batch.to_pylist()
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
    for row in rows:
        yield {"split": split} | row if split else row


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
        tables = (pa.Table.from_pylist(batch, schema=schema) for batch in _batches(copy))
        if kind == "parquet":
            with pq.ParquetWriter(to, schema) as writer:
                for table in tables:
                    writer.write_table(table)
            return
        _save(tables, to)


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
