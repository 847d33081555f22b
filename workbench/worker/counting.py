"""The tokens of texts: ``python -m workbench.worker.counting FOLDER`` reads JSON strings and prints a number for each.

``tokenizers`` alone reads most tokenizers in some milliseconds; transformers (2 s) knows the others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path


def main() -> int:
    """Read, count, print."""
    count = counter(Path(sys.argv[1]))
    for line in sys.stdin:
        print(count(json.loads(line)), flush=True)
    return 0


def counter(folder: Path) -> Callable[[str], int]:
    """A function from a text to its number of tokens, special ones that a tokenizer adds left out."""
    if (file := folder / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        fast = Tokenizer.from_file(str(file))
        return lambda text: len(fast.encode(text, add_special_tokens=False).ids)
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    return lambda text: len(slow(text, add_special_tokens=False)["input_ids"])


if __name__ == "__main__":
    sys.exit(main())
