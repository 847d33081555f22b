"""``python -m workbench.worker.checks NAME [--model PATH --max-length N]``: one set check over rows on standard input.

A row is one JSON line, as ``CheckedRow.as_dict`` gives it. Each answer is one JSON line: ``{"finding": …}``,
``{"language": {"example_id", "code"}}``, or now and then ``{"seen": rows}``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from workbench import checks
from workbench.domain.checks import CheckedRow, Language, SetCheck, Surroundings, checked_row_from_dict
from workbench.errors import WorkbenchError

_TELL_EVERY = 1000


def main(argv: list[str]) -> int:
    """Exit code 0 when every row was looked at; otherwise the last line of stderr says why not."""
    parser = argparse.ArgumentParser(prog="python -m workbench.worker.checks")
    parser.add_argument("name")
    parser.add_argument("--model", default="", help="folder or hub id of the model whose tokenizer counts")
    parser.add_argument("--adapter", default="", help="folder of an adapter on it, which may bring its own")
    parser.add_argument("--max-length", type=int, default=1024)
    args = parser.parse_args(argv)
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="utf-8", errors="surrogatepass")  # type: ignore[union-attr]
    try:
        check = checks.get(args.name)
        if not isinstance(check, SetCheck):
            raise WorkbenchError(f"{args.name} looks at single rows")
        for seen in check.look(_rows(), _surroundings(args)):
            if isinstance(seen, Language):
                _tell({"language": {"example_id": seen.example_id, "code": seen.code}})
            else:
                _tell({"finding": seen.as_dict()})
    except WorkbenchError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    return 0


def _surroundings(args: argparse.Namespace) -> Surroundings:
    if not args.model:
        return Surroundings()
    from workbench.worker.tokens import ModelTokens

    return Surroundings(tokens=ModelTokens(args.model, adapter=args.adapter, max_length=args.max_length))


def _rows() -> Iterator[CheckedRow]:
    for number, line in enumerate(sys.stdin, start=1):
        yield checked_row_from_dict(json.loads(line))
        if number % _TELL_EVERY == 0:
            _tell({"seen": number})


def _tell(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush="seen" in answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
