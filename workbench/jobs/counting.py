"""The tokens of texts, counted by a child process, because tokenizers belong to the ML libraries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from workbench.jobs.children import converse

MODULE = "workbench.worker.counting"


def count_tokens(folder: Path, texts: Iterable[str]) -> Iterator[int]:
    """How many tokens each text has for the tokenizer in ``folder``, one after another. Raises ``WorkbenchError``."""
    return map(int, converse(MODULE, (str(folder),), map(json.dumps, texts)))
