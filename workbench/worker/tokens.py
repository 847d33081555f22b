"""``python -m workbench.worker.tokens``: rows as the trainer has them in tokens, without its weights.

The rows go through the trainer's own door (``trainer.building``, TRL's trainer class and its preparation of the data)
with a stand-in for the model: what becomes of a row depends on the tokenizer, the chat template and the method alone.
Only the window is put on afterwards, by the cut that TRL makes at ``max_length``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import methods
from workbench.domain.chats import Turn
from workbench.domain.checks import CheckedRow, TokenCount, checked_row_from_dict
from workbench.domain.examples import Example, Kind, Source, SourceKind
from workbench.domain.runs import RunSpec
from workbench.domain.training import training_rows
from workbench.errors import RefusedError, WorkbenchError
from workbench.jobs.run_directory import RunDirectory
from workbench.worker.quantising import leave_out_bitsandbytes
from workbench.worker.trainer import environment

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

METHODS = {Kind.DEMONSTRATION: "sft", Kind.PREFERENCE: "dpo", Kind.JUDGEMENT: "kto"}
_ROWS_AT_ONCE = 2000
_PROVEN = 200  # templates err on all rows alike
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One sequence of a row before the cut: every id, whether it is learnt, and where the answer begins."""

    part: str
    ids: list[int]
    learnt: list[bool]
    start: int


class ModelTokens:
    """A model's tokenizer as training uses it. ``path`` is a base's folder or hub id, ``adapter`` the folder of one on
    it; no weights are loaded.
    """

    def __init__(self, path: str, *, adapter: str = "", max_length: int) -> None:
        environment.prepare(path)
        from workbench.worker.trainer import loading

        self.max_length = max_length
        self.refused: RefusedError | None = None
        """Why rows that were counted may not be trained on: the first reason that was found."""
        self._path = path
        self._tokenizer = loading.load_tokenizer(replace(_spec("sft", path, 1), adapter_path=adapter))

    def counts(self, rows: Iterable[CheckedRow], *, prove: bool = False) -> Iterator[TokenCount]:
        """The length of every sequence that training on these rows would make, some thousand rows at a time.

        With ``prove`` it is also looked whether they may be trained on: then ``refused`` says what is against it.
        """
        iterator = iter(rows)
        while chunk := list(islice(iterator, _ROWS_AT_ONCE)):
            for kind in METHODS:
                same = [row for row in chunk if row.content.kind is kind]
                for row, sequences in zip(same, self.sequences(same, kind, prove=prove), strict=True):
                    yield from (self._count(row.id, sequence) for sequence in sequences)

    def sequences(self, rows: Sequence[CheckedRow], kind: Kind, *, prove: bool = False) -> list[list[TokenSequence]]:
        """For each of these rows, which are all of one kind, its sequences.

        With ``prove`` some of them are looked at as the trainer looks at all of them before its first step.
        """
        if not rows:
            return []
        name = METHODS[kind]
        # A contrast needs a neighbour: KTO's trainer takes no single row.
        padded = [*rows, rows[0]] if kind is Kind.JUDGEMENT and len(rows) == 1 else rows
        examples = [Example(row.id, row.dataset, row.content, Source(SourceKind.IMPORT)) for row in padded]
        of_each = [[row.row for row in training_rows([example], kind)] for example in examples]
        lines = list(chain.from_iterable(of_each))
        ready = prepared(name, lines, self._path, self._tokenizer) if lines else []
        if len(ready) != len(lines):
            raise RefusedError(f"the trainer made {len(ready)} rows of {len(lines)}")
        if prove and lines and self.refused is None:
            self._prove(ready, [example.id for example, parts in zip(examples, of_each, strict=True) for _ in parts])
        made = iter(range(len(lines)))
        found = [[one for _ in parts for one in sequences_of(ready[next(made)])] for parts in of_each]
        return found[: len(rows)]

    def prompt_ids(self, turns: Sequence[Turn], tools: str) -> list[int]:
        """A prompt alone, as the engine renders it."""
        rendered = self._tokenizer.apply_chat_template(
            [turn.as_dict() for turn in turns],
            add_generation_prompt=True,
            return_dict=True,
            tools=json.loads(tools) if tools else None,
        )
        return list(rendered["input_ids"])

    def text_ids(self, text: str) -> list[int]:
        """A text of continued pre-training, with the token that ends it."""
        ids = list(self._tokenizer(text)["input_ids"])
        return [*ids, self._tokenizer.eos_token_id] if self._tokenizer.eos_token_id is not None else ids

    def stops(self) -> set[int]:
        """The tokens that end an answer."""
        from workbench.worker.trainer import rows

        return rows.stop_ids(_stand_in(self._path, self._tokenizer), self._tokenizer)

    def learns_to_end(self, learnt: Sequence[int]) -> bool:
        """True when a stop token stands where these ids, which are learnt, end."""
        from workbench.worker.trainer import rows

        return rows.learns_to_end(learnt, self.stops(), self._tokenizer)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text of each token; joined they are the whole text, also where a letter spans several tokens."""
        return list(_pieces(self._tokenizer, ids))

    def _prove(self, ready: Any, example_ids: Sequence[int]) -> None:
        from workbench.worker.trainer import rows

        try:
            names = [f"example {example_id}" for example_id in example_ids]
            rows.check_rows(ready, self._tokenizer, self.stops(), max_length=sys.maxsize, most=_PROVEN, names=names)
        except RefusedError as error:
            self.refused = error

    def _count(self, example_id: int, sequence: TokenSequence) -> TokenCount:
        kept = min(len(sequence.ids), self.max_length)
        learnt = sum(sequence.learnt[:kept])
        return TokenCount(example_id, sequence.part, sequence.start, len(sequence.ids), kept, learnt)


def _spec(method: str, path: str, count: int) -> RunSpec:
    knobs = methods.get(method).values("auto", {})
    return RunSpec("tokens", method, path, path, "", knobs, count, 0, "")


def prepared(name: str, lines: list[dict[str, Any]], path: str, tokenizer: PreTrainedTokenizerBase) -> Any:
    """The rows as the method's trainer keeps them, nothing cut off or left out."""
    import inspect

    import datasets

    from workbench.worker.trainer import adapters, building, rows

    datasets.disable_progress_bars()
    method, spec = methods.get(name), _spec(name, path, len(lines))
    with tempfile.TemporaryDirectory(prefix="workbench-tokens-") as folder:
        directory = RunDirectory(Path(folder))
        directory.train_file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        train = rows.read_rows(directory.train_file)
        changed: dict[str, Any] = {"max_length": None, "use_cpu": True, "bf16": False, "dataloader_pin_memory": False}
        config = building.build_config(method, spec, directory, train, **changed)
        trainer_class = adapters.import_class(method.trainer)
        options: dict[str, Any] = {"args": config, "train_dataset": train, "processing_class": tokenizer}
        if "ref_model" in inspect.signature(trainer_class).parameters:
            options["ref_model"] = _stand_in(path, tokenizer)
        return trainer_class(model=_stand_in(path, tokenizer), **options).train_dataset


def _stand_in(path: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The smallest model that has the tokenizer's vocabulary, with the real one's generation config."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=max(len(tokenizer), 8),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    try:
        model.generation_config = GenerationConfig.from_pretrained(path)
    except OSError:  # a model need not have one
        model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    return model


def sequences_of(row: dict[str, Any]) -> list[TokenSequence]:
    """The sequences of a row that ``prepared`` gave."""
    if "input_ids" in row:
        learnt = [label != _IGNORED for label in row["labels"]]
        start = learnt.index(True) if True in learnt else len(learnt)
        return [TokenSequence("completion", row["input_ids"], learnt, start)]
    prompt = row["prompt_ids"]
    return [
        TokenSequence(part, prompt + ids, [False] * len(prompt) + [True] * len(ids), len(prompt))
        for part in ("chosen", "rejected", "completion")
        if (ids := row.get(f"{part}_ids")) is not None
    ]


def _pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> Iterator[str]:
    waiting: list[int] = []
    for token in ids:
        waiting.append(token)
        text = tokenizer.decode(waiting, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if text.endswith("\ufffd") and len(waiting) < 4:
            yield ""
            continue
        yield text
        waiting = []
    # what is left is half a letter; the view shows it at the last token


def view(row: CheckedRow, tokens: ModelTokens) -> dict[str, Any]:
    """One row whole: for each sequence its tokens, where the window ends, and whether the stop token is learnt."""
    content, stops = row.content, tokens.stops()
    match content.kind:
        case Kind.TEXT:
            ids = tokens.text_ids(content.chosen[0].content)
            sequences = [TokenSequence("text", ids, [True] * len(ids), 0)]
        case Kind.PROMPT:
            ids = tokens.prompt_ids(content.prompt, content.tools)
            sequences = [TokenSequence("prompt", ids, [False] * len(ids), len(ids))]
        case _:
            sequences = tokens.sequences([row], content.kind)[0]
            if not sequences:
                raise RefusedError("every answer has weight 0: nothing of it is learnt")
    return {"max_length": tokens.max_length, "sequences": [_shown(s, tokens, stops) for s in sequences]}


def _shown(sequence: TokenSequence, tokens: ModelTokens, stops: set[int]) -> dict[str, Any]:
    window = tokens.max_length
    shown = [
        {"id": token, "text": text, "in_loss": learnt and position < window, "cut": position >= window}
        for position, (token, text, learnt) in enumerate(
            zip(sequence.ids, tokens.pieces(sequence.ids), sequence.learnt, strict=True)
        )
    ]
    in_loss = [token for token, learnt in zip(sequence.ids[:window], sequence.learnt, strict=False) if learnt]
    return {
        "part": sequence.part,
        "tokens": [one | {"stop": one["id"] in stops} for one in shown],
        "prompt_tokens": sequence.start,
        "truncated": len(sequence.ids) > window,
        "stop_token_in_loss": tokens.learns_to_end(in_loss),
    }


def main(argv: list[str]) -> int:
    """One row as JSON on standard input, its tokens as JSON on standard output.

    With ``--counts`` as many rows as come, and for each sequence of theirs one line with its ``TokenCount``; behind
    those, one that says why they may not be trained on.
    """
    parser = argparse.ArgumentParser(prog="python -m workbench.worker.tokens")
    parser.add_argument("--model", required=True)
    parser.add_argument("--adapter", default="")
    parser.add_argument("--max-length", type=int, required=True)
    parser.add_argument("--counts", action="store_true")
    args = parser.parse_args(argv)
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="utf-8", errors="surrogatepass")  # type: ignore[union-attr]
    try:
        tokens = ModelTokens(args.model, adapter=args.adapter, max_length=args.max_length)
        if args.counts:
            rows = (checked_row_from_dict(json.loads(line)) for line in sys.stdin)
            for count in tokens.counts(rows, prove=True):
                print(json.dumps(asdict(count)))
            if tokens.refused is not None:
                print(json.dumps({"refused": tokens.refused.message, "hint": tokens.refused.hint}))
            return 0
        row = checked_row_from_dict(json.loads(sys.stdin.readline()))
        print(json.dumps(view(row, tokens)))
    except WorkbenchError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    leave_out_bitsandbytes()  # no weights are loaded here
    sys.exit(main(sys.argv[1:]))
