"""Before a run starts: do its rows fit the window, does it fit the memory and the disk, how long will it take.

Looks at a plan and starts nothing. Every refusal says what to change, as knobs that can be set at once. What no
estimate knows, the trainer measures on the longest batch before its first step.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from workbench import methods
from workbench.domain.examples import Kind
from workbench.domain.memory import (
    Load,
    MemoryParts,
    ModelShape,
    best_bytes,
    checkpoint_bytes,
    estimate,
    gigabytes,
    load_of,
)
from workbench.domain.methods import KnobValue, Measure, Method
from workbench.domain.placement import BATCH, PASSES, PROCESSES, STRATEGY, shared
from workbench.domain.queues import wish
from workbench.domain.runs import DEEPSPEED, DISK, MEMORY, ROWS, RunSpec, smaller_batch
from workbench.errors import RefusedError, Remedy
from workbench.flows import registry, row_lengths
from workbench.flows.row_lengths import RowLengths
from workbench.jobs import ranks
from workbench.jobs.devices import Device, training_device
from workbench.methods.adapters import refuse_clashes

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.flows.train import RunPlan

WINDOW = "max_length"
_DRAWN = "max_completion_length"
"""The knob of methods that learn from answers of the model's own: how long those may be."""
_HEADS = {Measure.PAIRS: "plain", Measure.SCORES: "none"}
_CHECKPOINTS_AT_ONCE = 3
_SHORTEST_WINDOW = 128
_LISTED = 8
_LOW_RANK = {"lora", "rslora", "dora", "pissa"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the run should not start as it is; ``name`` is what ``--allow`` takes, "" for what no person may allow.

    The first remedy is the mildest; ``hint`` says what to do where no setting helps.
    """

    name: str
    said: str
    remedies: tuple[Remedy, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found. ``facts`` are sentences in the order to show them; ``memory`` is None when nothing tells it."""

    facts: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    remedies: tuple[Remedy, ...] = ()
    lengths: RowLengths | None = None
    memory: MemoryParts | None = None
    device: Device | None = None
    seconds: float | None = None

    @property
    def all_remedies(self) -> tuple[Remedy, ...]:
        """What can be set at once: for the refusals first, then what is only advised."""
        return (*(remedy for refusal in self.refusals for remedy in refusal.remedies), *self.remedies)

    def refuse(self, allow: Collection[str] = ()) -> None:
        """Raise ``RefusedError`` for the first refusal that is not allowed by name."""
        for refusal in self.not_allowed(allow):
            ways = "; or ".join(f"{_set(remedy.knobs)} ({remedy.said})" for remedy in refusal.remedies)
            anyway = f"--allow {refusal.name}" if refusal.name else ""
            hint = refusal.hint or "; or ".join(way for way in (ways, anyway) if way)
            names = [refusal.name] if refusal.name else []
            raise RefusedError(refusal.said, hint=hint, allow=names, remedies=refusal.remedies)

    def not_allowed(self, allow: Collection[str]) -> tuple[Refusal, ...]:
        """The refusals that are not allowed by name."""
        return tuple(refusal for refusal in self.refusals if not refusal.name or refusal.name not in allow)


def look(
    bench: Bench,
    plan: RunPlan,
    *,
    count: bool = True,
    device: Device | None = None,
    cancelled: threading.Event | None = None,
) -> Preflight:
    """Look at a plan. With ``count`` a child process counts tokens, some seconds the first time; without, every row is
    taken to fill the window. ``device`` is where it would train (default: what this machine has). ``cancelled`` ends
    the counting with a ``WorkbenchError``.
    """
    spec, window = plan.spec, int(plan.spec.knobs[WINDOW])
    device = _with_our_engine(bench, device or training_device(wish(plan.gpus)))
    drawn = int(spec.knobs.get(_DRAWN, 0))
    here = _for_one_process(device, int(spec.knobs.get(PROCESSES, 1)))
    lengths = None
    if count:
        model = plan.like or spec.adapter or spec.base
        lengths = row_lengths.count(bench, plan.train_rows, method=spec.method, model=model, cancelled=cancelled)
        lengths = lengths.answered(drawn) if drawn else lengths
    base = plan.like or spec.base
    shape = registry.shape(Path(bench.store.models.get(base).path if plan.like else spec.base_path))
    facts = [*(_prompt_facts(lengths, window, drawn) if drawn else _row_facts(lengths, window))]
    facts += _replay_facts(bench, spec, lengths, window)
    refusals = [*_template_refusals(lengths), *_row_refusals(lengths, window, drawn)]
    remedies = [*_wider(lengths, window, bench, base)] if lengths is not None and lengths.cut(window) else []
    refusals += _package_refusals(spec)
    memory = None
    if shape is not None:
        tokens = _longest(lengths, window)
        load = _load(spec, shape, spec.knobs, here, tokens)
        memory = estimate(shape, load)
        facts.append(_memory_fact(memory, here))
        if _is_shared_out(spec) and here.kind != "cuda":
            facts.append(f"without a GPU {spec.knobs[STRATEGY]} shares nothing out: it trains as with ddp")
        if is_shared_out := _is_shared_out(spec) and here.kind == "cuda":
            facts.append("that is with the whole model in every process, which shares it out with the others")
        if memory.total > here.free and not is_shared_out:
            ways = _ways_to_fit(spec, shape, here, lengths)
            refusals.append(Refusal(MEMORY, _too_much(memory, here), ways))
        fact, full = _disk(bench.workspace.runs, shape, load, keeps_best=_keeps_best(spec))
        facts.append(fact)
        refusals += full
    if seconds := _seconds(bench, plan, lengths):
        facts.append(f"takes about {_duration(seconds)}, as fast as runs like it went here before")
    return Preflight(tuple(facts), tuple(refusals), tuple(remedies), lengths, memory, here, seconds)


def look_before(bench: Bench, plan: RunPlan, *, cancelled: threading.Event | None = None) -> Preflight:
    """Look at a plan that is to start: tokens are counted only where it would be refused without that, or has to wait.

    A trainer that begins now looks at its rows itself, before anything else.
    """
    found = look(bench, plan, count=False, cancelled=cancelled)
    # Every row was taken to fill the window: count before refusing.
    return look(bench, plan, cancelled=cancelled) if found.refusals or not starts_at_once(bench) else found


def starts_at_once(bench: Bench) -> bool:
    """True when no other run is at work or waits. What a trainer says at its start, others would hear hours later."""
    return all(run.state.is_over for run in bench.store.runs.list())


def _package_refusals(spec: RunSpec) -> Iterator[Refusal]:
    if int(spec.knobs.get(PROCESSES, 1)) > 1 and (said := ranks.missing(str(spec.knobs.get(STRATEGY, "ddp")))):
        yield Refusal(DEEPSPEED, said, (Remedy("FSDP2, which needs no other package", {STRATEGY: "fsdp"}),))


# The rows


def _row_facts(lengths: RowLengths | None, window: int) -> Iterator[str]:
    if lengths is None or not lengths.longest_tokens(window):  # texts and prompts alone are not counted
        return
    counted = f", counted on {len(lengths.longest) + len(lengths.spread):,} of them" if lengths.is_sample else ""
    yield f"{lengths.mean_tokens(window):,.0f} tokens a row, {lengths.longest_tokens(window):,} the longest{counted}"
    if cut := lengths.cut(window):
        least = "at least " if lengths.is_at_least(window) else ""
        yield f"{least}{len(cut):,} {_rows(cut)} longer than {WINDOW} = {window} and cut at the end: {_listed(cut)}"
    if empty := lengths.empty(window):
        yield f"{len(empty):,} {_rows(empty)} left out, no answer within {WINDOW} = {window}: {_listed(empty)}"


def _replay_facts(bench: Bench, spec: RunSpec, lengths: RowLengths | None, window: int) -> Iterator[str]:
    """How much of what is read is replayed: rows may be much longer there, or shorter, than the run's own."""
    if not spec.replay_rows or lengths is None or lengths.is_sample:
        return
    names = {one.id: one.dataset for one in bench.store.examples.many(sorted(set(spec.example_ids)))}
    tokens = {
        again: lengths.tokens(window, {i for i in names if (names[i] == spec.replay_dataset) is again})
        for again in (True, False)
    }
    if tokens[True] and tokens[False]:
        share = tokens[True] / (tokens[True] + tokens[False])
        yield f"what is replayed from {spec.replay_dataset} is {share:.0%} of the tokens"


def _prompt_facts(lengths: RowLengths | None, window: int, drawn: int) -> Iterator[str]:
    """Of prompts to which the model draws an answer of up to ``drawn`` tokens."""
    if lengths is None or not lengths.longest_tokens(window):
        return
    mean, longest = lengths.mean_tokens(2**30) - drawn, lengths.longest_tokens(2**30) - drawn
    yield f"{mean:,.0f} tokens a prompt, {longest:,} the longest, and up to {drawn} of each answer drawn to it"
    if cut := lengths.cut(window):
        yield f"{len(cut):,} {_rows(cut)} left out, no room for an answer within {WINDOW} = {window}: {_listed(cut)}"


def _template_refusals(lengths: RowLengths | None) -> Iterator[Refusal]:
    """Rows that would teach something else than a chat asks for, which no trainer begins with."""
    if lengths is not None and lengths.refused:
        yield Refusal("", lengths.refused, hint=lengths.hint)


def _longest(lengths: RowLengths | None, window: int) -> int:
    """Tokens of the longest sequence; the window where nothing was counted, as of raw texts and of prompts alone."""
    return (lengths.longest_tokens(window) if lengths else 0) or window


def _row_refusals(lengths: RowLengths | None, window: int, drawn: int) -> Iterator[Refusal]:
    if lengths is None or not lengths.rows or lengths.is_sample or not lengths.longest_tokens(window):
        return
    if len(lengths.cut(window) if drawn else lengths.empty(window)) < lengths.rows:
        return
    needed = 1 + max(one.total for one in lengths.longest)
    what = "prompt leaves room for" if drawn else "row has"
    said = f"no {what} an answer within {WINDOW} = {window} tokens"
    yield Refusal(ROWS, said, (Remedy(f"a window of {needed} tokens", {WINDOW: str(needed)}),))


def _wider(lengths: RowLengths, window: int, bench: Bench, base: str) -> Iterator[Remedy]:
    """A window that cuts nothing, where the model's context allows it."""
    needed = max(one.total for one in (*lengths.longest, *lengths.spread))
    context = registry.describe(bench, bench.store.models.get(base)).get("context")
    if needed > window and isinstance(context, int) and needed <= context:
        yield Remedy("a window that cuts no row", {WINDOW: str(needed)})


def _rows(ids: tuple[int, ...]) -> str:
    return "row is" if len(ids) == 1 else "rows are"


def _listed(ids: tuple[int, ...]) -> str:
    more = f" and {len(ids) - _LISTED:,} more" if len(ids) > _LISTED else ""
    return f"examples {', '.join(map(str, ids[:_LISTED]))}{more}"


# The memory


def _load(spec: RunSpec, shape: ModelShape, knobs: Mapping[str, KnobValue], device: Device, tokens: int) -> Load:
    knobs = shared(methods.get(spec.method), knobs, int(knobs.get(PROCESSES, 1)))
    method = methods.get(spec.method)
    # Pairs go through the model together, so a row of theirs is two sequences.
    sequences = min(int(knobs[BATCH]), spec.train_rows) * (2 if method.kinds[0] is Kind.PREFERENCE else 1)
    wanted = str(knobs.get("precision", "auto"))
    bf16 = wanted == "bf16" or (wanted == "auto" and device.has_bf16)
    return load_of(
        shape,
        knobs,
        sequences=sequences,
        tokens=sequences * tokens,
        device=device.kind,
        bf16=bf16,
        is_compared=_is_compared(method, knobs),
        beside=_beside(spec),
        head=_HEADS.get(method.measure, "fused"),
    )


def _is_compared(method: Method, knobs: Mapping[str, KnobValue]) -> bool:
    """True for a method that holds the model to where it started, and not only by its name for a knob."""
    return method.measure in {Measure.COMPLETIONS, Measure.REWARDS} and float(knobs.get("beta", 0.0)) > 0


def _beside(spec: RunSpec) -> int:
    """The numbers of the models that are held beside the one that learns: its teacher, or its reward model."""
    reward = "" if spec.reward_sha256 else spec.reward_base_path or spec.reward_path
    held = [path for path in (spec.teacher_base_path or spec.teacher_path, reward) if path]
    return sum(shape.parameters for path in held if (shape := registry.shape(Path(path))) is not None)


def _memory_fact(memory: MemoryParts, device: Device) -> str:
    others = [user for user in device.users if user.used]
    held = ", ".join(f"{user.name} ({user.pid}) {gigabytes(user.used or 0)} GB" for user in others)
    free = f"{gigabytes(device.free)} of {gigabytes(device.total)} GB free on {device.name}"
    return f"about {memory.sentence()}; {free}" + (f", also used by {held}" if held else "")


def _too_much(memory: MemoryParts, device: Device) -> str:
    return (
        f"it needs about {gigabytes(memory.total)} GB of memory, {gigabytes(device.free)} GB are free on {device.name}"
    )


def _ways_to_fit(spec: RunSpec, shape: ModelShape, device: Device, lengths: RowLengths | None) -> tuple[Remedy, ...]:
    """Changes that make it fit, the mildest first; when none does alone, all of them together."""

    def fits(changed: Mapping[str, str]) -> bool:
        knobs = {**spec.knobs, **_parsed(spec, changed)}
        if not _can_be(spec, knobs):
            return False
        window = int(knobs[WINDOW])
        if WINDOW in changed and any(_row_refusals(lengths, window, int(knobs.get(_DRAWN, 0)))):
            return False
        tokens = _longest(lengths, window)
        return estimate(shape, _load(spec, shape, knobs, device, tokens)).total <= device.free

    ways = list(_ways(spec.knobs, spec.method))
    if found := [way for way in ways if fits(way.knobs)]:
        # Of the batches that fit, the largest.
        return tuple({way.said: way for way in reversed(found)}.values())[::-1]
    together = {name: value for way in ways for name, value in way.knobs.items()}
    return (Remedy("all of it together", together),) if together and fits(together) else ()


def _can_be(spec: RunSpec, knobs: Mapping[str, KnobValue]) -> bool:
    start = "adapter" if spec.adapter_path else "base"
    try:
        refuse_clashes({**knobs, "method": spec.method, "start": start})
    except RefusedError:
        return False
    return True


def _parsed(spec: RunSpec, changed: Mapping[str, str]) -> dict[str, KnobValue]:
    method = methods.get(spec.method)
    return {name: method.knob(name).parse(text) for name, text in changed.items()}


def _ways(knobs: Mapping[str, KnobValue], method: str) -> Iterator[Remedy]:
    fewest = 2 if method == "kto" else 1
    batch, passes = int(knobs[BATCH]), int(knobs[PASSES])
    while smaller := smaller_batch(batch, passes, fewest=fewest):
        batch, passes = smaller
        yield Remedy("fewer rows at once, more passes a step", {BATCH: str(batch), PASSES: str(passes)})
    if not knobs.get("gradient_checkpointing"):
        yield Remedy("activations computed again instead of kept", {"gradient_checkpointing": "true"})
    if knobs.get("adapter") in _LOW_RANK | {"full"}:
        yield Remedy("a base in 4 bits", {"adapter": "qlora"})
    if (window := int(knobs[WINDOW]) // 2) >= _SHORTEST_WINDOW:
        yield Remedy("half the window", {WINDOW: str(window)})


def _with_our_engine(bench: Bench, device: Device) -> Device:
    """The device with what the workspace's own engine holds counted as free: it goes before a run starts."""
    if device.kind != "cuda":
        return device
    engine = bench.engine.status().pid
    ours = sum(user.used or 0 for user in device.users if user.pid == engine)
    users = tuple(user for user in device.users if user.pid != engine)
    return replace(device, free=device.free + ours, users=users)


def _for_one_process(device: Device, processes: int) -> Device:
    """The device as one of several processes has it: each has a GPU of its own, but they share main memory."""
    if device.kind == "cuda" or processes == 1:
        return device
    return replace(device, free=device.free // processes, name=f"{device.name}, for each of {processes} processes")


def _is_shared_out(spec: RunSpec) -> bool:
    return int(spec.knobs.get(PROCESSES, 1)) > 1 and str(spec.knobs.get(STRATEGY, "ddp")) != "ddp"


# Disk and time


def _keeps_best(spec: RunSpec) -> bool:
    """True when the weights of the best measurement stand beside the checkpoints until the run's end."""
    return bool(spec.knobs.get("load_best_model_at_end") and spec.knobs.get("eval_steps") and spec.eval_rows)


def _disk(runs: Path, shape: ModelShape, load: Load, *, keeps_best: bool) -> tuple[str, list[Refusal]]:
    """What its checkpoints need of the disk, as a fact and, where there is less, as a refusal."""
    needed = _CHECKPOINTS_AT_ONCE * checkpoint_bytes(shape, load) + (best_bytes(load) if keeps_best else 0)
    folder = next(place for place in (runs, *runs.parents) if place.is_dir())
    free = shutil.disk_usage(folder).free
    if needed <= free:
        return f"checkpoints take up to {gigabytes(needed)} GB of the disk; {gigabytes(free)} GB are free there", []
    said = f"its checkpoints need about {gigabytes(needed)} GB, {gigabytes(free)} GB are free in {folder}"
    ways = (Remedy("an adapter instead of all weights", {"adapter": "lora"}),) if load.whole else ()
    return f"{gigabytes(free)} GB of the disk are free", [Refusal(DISK, said, ways)]


def _seconds(bench: Bench, plan: RunPlan, lengths: RowLengths | None) -> float | None:
    """The time that it takes at the speed of the last finished run of its kind; None when there was none."""
    if lengths is None:
        return None
    spec, knobs = plan.spec, plan.spec.knobs
    like = [r for r in bench.store.runs.list() if (r.method, r.base) == (spec.method, spec.base) and r.step > 0]
    speeds = [m.value for run in like[:1] for m in bench.store.runs.metrics(run.id, "tokens_per_second") if m.value > 0]
    if not speeds:
        return None
    rows = spec.train_rows * float(knobs["num_train_epochs"])
    if (steps := int(knobs["max_steps"])) > 0:
        rows = steps * int(knobs[BATCH]) * int(knobs[PASSES])
    return rows * lengths.mean_tokens(int(knobs[WINDOW])) / median(speeds)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _set(knobs: Mapping[str, str]) -> str:
    return " ".join(f"--set {name}={value}" for name, value in knobs.items())
