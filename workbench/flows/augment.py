"""Rows made from rows: the same answers to questions asked otherwise, by templates or by a model.

What is made is pending until a person accepts it, marked as synthetic, and leads back to the row that it was made from,
with which it stays on one side of every split.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.chats import Role, Sampling, StopReason, Turn
from workbench.domain.examples import Content, Example, Kind, NewExample, Source, SourceKind, Split, Status
from workbench.domain.mixing import Template, asked, filled, templates_from
from workbench.domain.queries import parse_query
from workbench.domain.serving import AnswerEnd, ChatRequest, ModelPlace, TextPiece
from workbench.errors import DataError, NotFoundError, RefusedError, UsageError
from workbench.flows.check import look_at
from workbench.flows.gate import counted, stream
from workbench.flows.registry import place
from workbench.store.bulk import in_pieces

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

TAG = "synthetic"
REQUEST = (
    "Write the following question in other words. Keep its meaning, its language and every name and number in it. "
    "Answer with the new question only.\n\n{prompt}"
)
_LONGEST_TOKENS = 256
_AT_ONCE = 50  # rows in one transaction, to begin with
_QUOTES = re.compile(r"^[\"'“„»«]+|[\"'”“«»]+$")

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Augmented:
    """What was made: new pending rows, ones that were there already, and questions that came back unusable."""

    dataset: str
    seeds: int
    added: int
    duplicates: int
    unusable: int = 0

    def as_dict(self) -> dict[str, object]:
        """The report as ``--json`` prints it."""
        return asdict(self)

    def sentence(self) -> str:
        """The report for a person."""
        said = [f"made {counted(self.added)} from {counted(self.seeds)} of {self.dataset}, pending, tagged {TAG}"]
        said += [f"{self.duplicates:,} were there already"] if self.duplicates else []
        said += [f"{self.unusable:,} answers were no new question"] if self.unusable else []
        return "; ".join(said)


def by_templates(bench: Bench, dataset: str, file: Path, *, limit: int = 0) -> Augmented:
    """For each accepted row and each template a row that asks by the template; at most ``limit`` rows are made.

    Rows of held-out splits are never taken, nor rows that were made themselves. One undo takes all of it back. Raises
    ``DataError`` with file and line for a template without its blank.
    """
    _check(limit)
    name = bench.store.datasets.get(dataset).name
    templates = templates_from(_text(file), where=str(file))
    seeds = _seeds(bench, name)
    made = [(seed, template) for seed in seeds for template in templates]
    made = made[:limit] if limit else made
    examples, group, counts = bench.store.examples, 0, [0, 0]

    def write(_: object, places: Sequence[int]) -> None:
        nonlocal group
        group = group or examples.new_group(bench.rater)
        rows = [_from_template(*made[at], file) for at in places]
        done = examples.add_many(name, rows, rater=bench.rater, status=Status.PENDING, group=group)
        counts[:] = [before + now for before, now in zip(counts, done, strict=True)]

    in_pieces(bench.store, range(len(made)), write, first=_AT_ONCE)
    return Augmented(name, len({seed.id for seed, _ in made}), *counts)


def by_paraphrase(
    bench: Bench,
    dataset: str,
    model: str,
    *,
    limit: int = 0,
    sampling: Sampling | None = None,
    seed: int = 7,
    cancelled: threading.Event | None = None,
    on_progress: OnProgress | None = None,
) -> Augmented:
    """For each of the first ``limit`` accepted rows (0: all) a row whose question ``model`` has put in other words.

    Each is stored as it comes, so what was made before a cancel or an engine's death stays; one undo takes all of it
    back. A paraphrase that is empty, cut off or the question itself is not stored. Raises ``EngineError``.
    """
    _check(limit)
    name, where = bench.store.datasets.get(dataset).name, place(bench, model)
    seeds = list(islice(_seeds(bench, name), limit or None))
    cancelled = cancelled or threading.Event()
    sampling = sampling or Sampling(temperature=0.9, max_tokens=_LONGEST_TOKENS)
    counts = {True: 0, False: 0}
    unusable, group = 0, 0
    for number, row in enumerate(seeds):
        if cancelled.is_set():
            break
        asking = Sampling(sampling.temperature, sampling.top_p, sampling.max_tokens, (seed + number) % 2**31)
        content = _otherwise(row, _ask(bench, where, row, asking, cancelled))
        if content is None:
            unusable += 1
        else:
            with bench.store.write():
                group = group or bench.store.examples.new_group(bench.rater)
                is_new = _store(bench, name, row, content, where.name, group)
            counts[is_new] += 1
            group = group if counts[True] else 0  # a group that nothing is in yet may be given to others
        if on_progress is not None:
            on_progress(number + 1, len(seeds))
    return Augmented(name, len(seeds), counts[True], counts[False], unusable)


def _seeds(bench: Bench, dataset: str) -> list[Example]:
    held = " ".join(f"-split:{split.value}" for split in (Split.VALIDATION, Split.TEST))
    query = f"status:{Status.ACCEPTED.value} -source:{SourceKind.SYNTHETIC.value} -kind:{Kind.TEXT.value} {held}"
    found = list(stream(bench, parse_query(query), dataset))
    if not found:
        hint = "rows are made from accepted rows that are not held out"
        raise RefusedError(f"{dataset} has no row to make others from", hint=hint)
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise NotFoundError(f"{file} cannot be read: {error.strerror}", where=str(file)) from None
    except UnicodeDecodeError:
        raise DataError(f"{file} is not UTF-8 text", where=str(file)) from None


def _from_template(seed: Example, template: Template, file: Path) -> NewExample:
    content = filled(seed.content, template.text)
    source = Source(SourceKind.SYNTHETIC, file=str(file), line=template.line, origins=seed.origins_of_a_copy)
    return NewExample(content, source, split=seed.split, tags=_tags(seed), findings=tuple(look_at(content)))


def _store(bench: Bench, dataset: str, seed: Example, content: Content, model: str, group: int) -> bool:
    source = Source(SourceKind.SYNTHETIC, models=(model,), origins=seed.origins_of_a_copy)
    _, is_new = bench.store.examples.add(
        dataset,
        content,
        source=source,
        status=Status.PENDING,
        rater=bench.rater,
        split=seed.split,
        tags=_tags(seed),
        group=group,
    )
    return is_new


def _tags(seed: Example) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*seed.tags, TAG)))


def _ask(bench: Bench, where: ModelPlace, seed: Example, sampling: Sampling, cancelled: threading.Event) -> str:
    """The model's other words; empty when it did not come to an end."""
    turns = (Turn(Role.USER.value, REQUEST.replace("{prompt}", seed.prompt_text)),)
    text = ""
    for event in bench.engine.stream(ChatRequest(where, turns, sampling), cancelled=cancelled):
        match event:
            case TextPiece(piece):
                text += piece
            case AnswerEnd(stop_reason=reason):
                return text if reason is StopReason.STOP else ""
    return ""


def _otherwise(seed: Example, answer: str) -> Content | None:
    question = _QUOTES.sub("", answer.strip()).strip()
    if not question or question.casefold() == seed.prompt_text.strip().casefold():
        return None
    return asked(seed.content, question)


def _check(limit: int) -> None:
    if limit < 0:
        raise UsageError(f"a limit of {limit} rows is below nothing")
