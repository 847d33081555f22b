"""What the Train pane shows of a run beside its curve and its log: samples, its group, its settings, its rows.

Each page is a text, read and made in a thread. Knows no widget.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from workbench.domain.counting import counted
from workbench.domain.runs import RECIPE, SWEEP, Run, figure_name
from workbench.errors import RunError
from workbench.flows import queueing, recipes, sweeps
from workbench.flows import train as flow
from workbench.jobs.run_directory import RunDirectory, without_undone
from workbench.tui.figures import number
from workbench.tui.safety import cell, clean

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

ROWS_SHOWN = 40
_INDENT = 14
ROW_LIMIT = 20_000


def page(bench: Bench, run: Run, name: str, width: int) -> Text:
    """A page by its name; says so when the run's folder is gone."""
    text = Text()
    try:
        for line, style in PAGES[name](bench, run, width):
            text.append(line + "\n", style)
    except RunError as error:
        text.append(clean(error.message), "bold")
    return text


Lines = Iterator[tuple[str, str]]


def samples(bench: Bench, run: Run, width: int) -> Lines:
    """Each prompt with its answers at every measurement, an answer that did not change only once."""
    events, _ = RunDirectory(Path(run.directory)).events()
    told = [event for event in without_undone(events) if event["event"] == "sample"]
    if not told:
        yield "no samples yet: they come with every measurement (sample_prompts, eval_steps)", ""
        return
    prompts = list(dict.fromkeys(str(one.get("prompt")) for event in told for one in event.get("answers", ())))
    for prompt in prompts:
        yield f"▸ {cell(prompt, width - 2)}", "bold"
        before = None
        for event in told:
            answer = next(
                (str(o.get("answer")) for o in event.get("answers", ()) if str(o.get("prompt")) == prompt), None
            )
            if answer is None:
                continue
            when = f"step {clean(str(event.get('step')))}"
            yield (
                (f"  {when:>10}  (the same)", "dim")
                if answer == before
                else (f"  {when:>10}  {_block(answer, width - _INDENT)}", "")
            )
            before = answer
        yield "", ""


def group(bench: Bench, run: Run, width: int) -> Lines:
    """The stages of its recipe, or the table of its sweep; for a run made alone, where it stands in the queue."""
    if run.group_kind == SWEEP:
        yield from _sweep(bench, run, width)
    elif run.group_kind == RECIPE:
        yield from _stages(bench, run)
    else:
        yield "made alone: no stage of a recipe, no run of a sweep", ""
    yield "", ""
    yield from _queue(bench)


def config(bench: Bench, run: Run, width: int) -> Lines:
    """All it was given, and the command that gives it again."""
    spec = flow.spec(run)
    told = RunDirectory(Path(run.directory)).spec().knobs
    yield from _facts(
        ("method", spec.method),
        ("start", spec.adapter or spec.base),
        ("dataset", spec.dataset),
        ("preset", spec.preset),
        ("GPUs", queueing.gpus_of(run) or "the CPU"),
        ("command", spec.command),
    )
    yield "", ""
    for name, value in spec.knobs.items():
        changed = f"  (was {clean(str(told[name]))})" if name in told and told[name] != value else ""
        yield f"{clean(name):<32} {clean(str(value))}{changed}", "bold" if changed else ""
    yield "", ""
    yield from _facts(*spec.versions.items())


def data(bench: Bench, run: Run, width: int) -> Lines:
    """How many rows of what, and the first of them as the trainer reads them."""
    spec = flow.spec(run)
    directory = RunDirectory(Path(run.directory))
    replay = f", {spec.replay_rows:,} of them from {spec.replay_dataset}" if spec.replay_rows else ""
    yield f"{counted(spec.train_rows, 'rows')} to train on{replay}; {spec.eval_rows:,} held out", "bold"
    yield f"sha256 {spec.row_hash}", "dim"
    for title, path, ids in (
        ("training rows", directory.train_file, spec.example_ids),
        ("held-out rows", directory.eval_file, spec.eval_example_ids),
    ):
        yield "", ""
        yield title, "bold"
        try:
            with path.open(encoding="utf-8") as file:
                for place, line in enumerate(islice(file, ROWS_SHOWN)):
                    example = f"#{ids[place]}" if place < len(ids) else ""
                    yield f"{example:>8} {cell(_row(line), max(20, width - 10))}", ""
        except OSError as error:
            yield f"{path.name}: {error.strerror}", ""


PAGES: dict[str, Callable[[Bench, Run, int], Lines]] = {
    "samples": samples,
    "group": group,
    "config": config,
    "data": data,
}


def _sweep(bench: Bench, run: Run, width: int) -> Lines:
    table = sweeps.table(bench, run.group)
    best = table.best
    heads = ["run", *table.varied, table.heading, *map(figure_name, table.others), "state"]
    rows = [
        [
            o.name,
            *(o.settings[name] for name in table.varied),
            number(o.value),
            *(number(o.others[name]) for name in table.others),
            " ".join(
                [o.state, *(["◀ best"] if o is best else []), *([f"({', '.join(o.warnings)})"] if o.warnings else [])]
            ),
        ]
        for o in table.outcomes
    ]
    widths = [max(cell_len(cell(line[at])) for line in [heads, *rows]) for at in range(len(heads))]
    yield f"sweep {clean(table.name)}: {len(rows)} runs", "bold"
    yield _cells(heads, widths), "underline"
    for row, outcome in zip(rows, table.outcomes, strict=True):
        yield _cells(row, widths), "bold" if outcome is best else "" if outcome.is_finished else "dim"
    yield table.order, ""
    yield table.advice, ""


def _stages(bench: Bench, run: Run) -> Lines:
    stages = recipes.stages_of(bench, run)
    yield f"recipe {clean(run.group)}: {len(stages)} stages", "bold"
    for one in stages:
        mark = "▶" if one.id == run.id else " "
        losses = f"  held-out loss {number(one.base_eval_loss)} → {number(one.eval_loss)}" if one.eval_loss else ""
        why = f"  {clean(one.error)}" if one.error else ""
        yield f"{mark} {clean(one.name)}  {one.method}  {one.state.value}{losses}{why}", ""


def _queue(bench: Bench) -> Lines:
    found = queueing.standing(bench)
    names = {one.id: one.name for one in bench.store.runs.list()}
    idle = "starting" if found.waiting else "not needed now"
    state = "held: workbench runner start goes on" if found.held else "at work" if found.runner else idle
    yield f"queue  (runner {state})", "bold"
    for run_id in found.active:
        yield f"  at work on {found.on.get(run_id) or 'the CPU'}: {clean(names[run_id])}", ""
    for place, run_id in enumerate(found.waiting, start=1):
        yield f"  {place}. {clean(names[run_id])}", ""
    for gpu in found.gpus:
        yield f"  GPU {gpu.label}: {gpu.free / 1e9:.1f} of {gpu.total / 1e9:.1f} GB free", ""
    if found.others:
        yield f"  also there: {clean(found.others)}", ""


def _facts(*facts: tuple[str, object]) -> Lines:
    for name, value in facts:
        yield f"{clean(name):<14} {clean(str(value))}", ""


def _cells(texts: list[str], widths: list[int]) -> str:
    shown = [cell(text) for text in texts]
    return "  ".join(text + " " * (width - cell_len(text)) for text, width in zip(shown, widths, strict=True))


def _block(text: str, width: int) -> str:
    """A text whose further lines stand below the beginning of its first."""
    wrapped = [piece for line in clean(text).split("\n") for piece in wrap(line, max(20, width)) or [""]]
    return ("\n" + " " * _INDENT).join(wrapped)


def _row(line: str) -> str:
    """A frozen row as a person reads it: who said what."""
    try:
        row = json.loads(line[:ROW_LIMIT])
    except ValueError:
        return line[:ROW_LIMIT]
    if not isinstance(row, dict):
        return line[:ROW_LIMIT]
    parts = []
    for name, value in row.items():
        turns = value if isinstance(value, list) else [value]
        said = " / ".join(str(turn.get("content") or "") if isinstance(turn, dict) else str(turn) for turn in turns)
        parts.append(f"{name}: {said}")
    return "  |  ".join(parts)
