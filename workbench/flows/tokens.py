"""A row as the trainer sees it, token by token. Computed in a child process by the trainer's own code."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from workbench.domain.checks import TokenCount, checked_row
from workbench.domain.examples import Example
from workbench.domain.models import Model, ModelKind
from workbench.errors import RefusedError, UsageError
from workbench.flows.presets import default_window
from workbench.jobs.children import converse

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


@dataclass(frozen=True, slots=True)
class Token:
    """One token: ``in_loss`` is learnt, ``cut`` lies beyond the window, ``stop`` ends an answer."""

    id: int
    text: str
    in_loss: bool
    cut: bool
    stop: bool


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One sequence of a row: the whole of it, or a pair's chosen or rejected answer behind the prompt."""

    part: str
    tokens: tuple[Token, ...]
    prompt_tokens: int
    truncated: bool
    stop_token_in_loss: bool


@dataclass(frozen=True, slots=True)
class TokenView:
    """A row in a model's tokens, cut at ``max_length``. A pair has two sequences, and a dialogue one for each
    stretch of answers that are learnt from.
    """

    example_id: int
    model: str
    max_length: int
    sequences: tuple[TokenSequence, ...]

    def as_dict(self) -> dict[str, Any]:
        """The view as ``--json`` prints it; ``tokens`` are those of the first sequence."""
        first = self.sequences[0]
        return {
            "example": self.example_id,
            "model": self.model,
            "max_length": self.max_length,
            "tokens": [asdict(token) for token in first.tokens],
            "truncated": any(sequence.truncated for sequence in self.sequences),
            "stop_token_in_loss": all(sequence.stop_token_in_loss for sequence in self.sequences),
            "sequences": [asdict(sequence) for sequence in self.sequences],
        }

    def text(self) -> str:
        """The view in plain text: what is learnt stands in [brackets], what is cut behind a line."""
        return "\n\n".join(_text(sequence, self.max_length) for sequence in self.sequences)


def view(
    bench: Bench, example_id: int, *, model: str = "", max_length: int = 0, cancelled: threading.Event | None = None
) -> TokenView:
    """The example as training ``model`` (default: the workspace's first) on it would see it.

    Takes some seconds: a child process loads the tokenizer and the training libraries; ``cancelled`` ends it. Raises
    ``NotFoundError``, or ``WorkbenchError`` with the child's reason (such as a base without a chat template).
    """
    if max_length < 0:
        raise UsageError(f"a row cannot have {max_length} tokens")
    row = checked_row(bench.store.examples.get(example_id))
    base = base_of(bench, model)
    window = max_length or default_window(bench, base)
    arguments = model_arguments(bench, model, max_length=window)
    answers = list(converse("workbench.worker.tokens", arguments, [json.dumps(row.as_dict())], cancelled=cancelled))
    told = json.loads(answers[-1])
    return TokenView(example_id, base.name, window, tuple(_sequence(sequence) for sequence in told["sequences"]))


def lengths(
    bench: Bench, examples: Iterable[Example], *, model: str, cancelled: threading.Event | None = None
) -> Iterator[TokenCount]:
    """The length of every sequence that training on these examples would make, by the trainer's own code.

    Read in another thread than the caller's. Texts and prompts alone make none. Takes some seconds to begin;
    ``cancelled`` ends it with a ``WorkbenchError``. Raises ``RefusedError`` behind the last one when rows would teach
    something else than a chat asks for: their prompt is rendered otherwise, or their stop token is not learnt.
    """
    arguments = ("--counts", *model_arguments(bench, model))
    rows = (json.dumps(checked_row(example).as_dict()) for example in examples)
    for line in converse("workbench.worker.tokens", arguments, rows, cancelled=cancelled):
        told = json.loads(line)
        if "refused" in told:
            raise RefusedError(told["refused"], hint=told["hint"])
        yield TokenCount(**told)


def model_arguments(bench: Bench, model: str, *, max_length: int = 0) -> tuple[str, ...]:
    """How a child process is told whose tokenizer and window count; an adapter may bring a tokenizer of its own."""
    found = bench.store.models.get(model) if model else bench.store.models.default()
    base = base_of(bench, model)
    adapter = ("--adapter", found.path) if found.kind is ModelKind.ADAPTER else ()
    return ("--model", base.path, *adapter, "--max-length", str(max_length or default_window(bench, base)))


def base_of(bench: Bench, model: str) -> Model:
    """The named model, or the base of the named adapter; empty is the default."""
    found = bench.store.models.get(model) if model else bench.store.models.default()
    found.check_is_here(to="count tokens")
    return bench.store.models.get(found.base) if found.kind is ModelKind.ADAPTER else found


def _sequence(told: dict[str, Any]) -> TokenSequence:
    return TokenSequence(**told | {"tokens": tuple(Token(**token) for token in told["tokens"])})


def _text(sequence: TokenSequence, window: int) -> str:
    kept = [token for token in sequence.tokens if not token.cut]
    cut = sequence.tokens[len(kept) :]
    stop = "in the loss" if sequence.stop_token_in_loss else "NOT in the loss"
    lines = [f"{sequence.part}: {len(sequence.tokens):,} tokens, the stop token is {stop}", _marked(kept)]
    if cut:
        lines += [f"--- cut here, at {window:,} tokens ---", "".join(token.text for token in cut)]
    return "\n".join(lines)


def _marked(tokens: Sequence[Token]) -> str:
    pieces: list[str] = []
    for position, token in enumerate(tokens):
        before = position > 0 and tokens[position - 1].in_loss
        pieces.append(
            ("[" if token.in_loss and not before else "]" if before and not token.in_loss else "") + token.text
        )
    return "".join(pieces) + ("]" if tokens and tokens[-1].in_loss else "")
