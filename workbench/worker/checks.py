"""``python -m workbench.worker.checks NAME… [--model PATH --max-length N]``: checks over rows on standard input.

Lines are JSON: ``{"held_out": row, "strict"}`` and ``{"compared": {"comparison_id", "prompt", "voted"}}`` first, then
``{"row": row}``, with rows as ``CheckedRow.as_dict`` gives them. Each answer is one JSON line: ``{"finding": …}``,
``{"language": {"example_id", "code"}}``, or now and then ``{"seen": rows, "check": name}``.

Rows are kept on the disk while several checks read them, so that what is in memory is what a check keeps of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import IO

from workbench import checks
from workbench.domain.chats import turns_from_dicts
from workbench.domain.checks import (
    Check,
    CheckedRow,
    ComparedPrompt,
    HeldOutRow,
    Language,
    RowCheck,
    Surroundings,
    Tokens,
    checked_row_from_dict,
)
from workbench.errors import WorkbenchError

_TELL_EVERY = 1000


def main(argv: list[str]) -> int:
    """Exit code 0 when every row was looked at; otherwise the last line of stderr says why not."""
    parser = argparse.ArgumentParser(prog="python -m workbench.worker.checks")
    parser.add_argument("name", nargs="+")
    parser.add_argument("--model", default="", help="folder or hub id of the model whose tokenizer counts")
    parser.add_argument("--adapter", default="", help="folder of an adapter on it, which may bring its own")
    parser.add_argument("--max-length", type=int, default=1024)
    args = parser.parse_args(argv)
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="utf-8", errors="surrogatepass")  # type: ignore[union-attr]
    try:
        chosen = [checks.get(name) for name in args.name]
        with _Told(sys.stdin, again=len(chosen) > 1) as told:
            for check in chosen:
                _look(check, told, _tokens(args))
    except WorkbenchError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    return 0


def _look(check: Check, told: _Told, tokens: Tokens | None) -> None:
    rows = _counted(told.rows(), check.name)
    if isinstance(check, RowCheck):
        for row in rows:
            for found in check.look(row.content):
                _tell({"finding": replace(found, check=check.name, example_id=row.id).as_dict()})
        return
    for seen in check.look(rows, Surroundings(told.held_out(), told.compared, tokens)):
        if isinstance(seen, Language):
            _tell({"language": {"example_id": seen.example_id, "code": seen.code}})
        else:
            _tell({"finding": replace(seen, check=check.name).as_dict()})


class _Told:
    """What stands on standard input: what models are measured on, and the rows; several times when ``again``."""

    def __init__(self, lines: Iterable[str], *, again: bool) -> None:
        self._lines, self._again = iter(lines), again
        self._held_out, self._rows = _file(), _file()
        self._first = ""
        self.compared: list[ComparedPrompt] = []

    def __enter__(self) -> _Told:
        for line in self._lines:
            if line.startswith('{"held_out"'):
                self._held_out.write(line)
            elif line.startswith('{"compared"'):
                one = json.loads(line)["compared"]
                prompt = turns_from_dicts(one["prompt"])
                self.compared.append(ComparedPrompt(one["comparison_id"], prompt, one["voted"]))
            elif self._again:
                self._rows.write(line)
            else:
                self._first = line
                break
        return self

    def __exit__(self, *_: object) -> None:
        self._held_out.close()
        self._rows.close()

    def held_out(self) -> Iterator[HeldOutRow]:
        """From the beginning."""
        self._held_out.seek(0)
        for line in self._held_out:
            told = json.loads(line)
            yield HeldOutRow(checked_row_from_dict(told["held_out"]), told["strict"])

    def rows(self) -> Iterator[CheckedRow]:
        """From the beginning; once, as they come in, when one check reads them."""
        self._rows.seek(0)
        lines = self._rows if self._again else chain([self._first] if self._first else (), self._lines)
        return (checked_row_from_dict(json.loads(line)["row"]) for line in lines)


def _file() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass")


def _tokens(args: argparse.Namespace) -> Tokens | None:
    if not args.model:
        return None
    from workbench.worker.tokens import ModelTokens

    return ModelTokens(args.model, adapter=args.adapter, max_length=args.max_length)


def _counted(rows: Iterable[CheckedRow], name: str) -> Iterator[CheckedRow]:
    for number, row in enumerate(rows, start=1):
        yield row
        if number % _TELL_EVERY == 0:
            _tell({"seen": number, "check": name})


def _tell(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush="seen" in answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
