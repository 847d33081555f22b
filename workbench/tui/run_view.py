"""What the Train pane shows of runs: read in a thread, turned into rows and lines. Knows the list's rows, no widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from workbench.domain.counting import size
from workbench.domain.runs import Metric, Run, RunState, TimeLeft, time_left
from workbench.errors import RunError
from workbench.flows import train as flow
from workbench.jobs.run_directory import RunDirectory, step_of
from workbench.tui.figures import duration, instant, meter, number, seconds_between, sparkline, thousands
from workbench.tui.safety import cell, clean
from workbench.tui.widgets.listing import Column, Row

if TYPE_CHECKING:
    from workbench.domain.runs import RunSpec
    from workbench.flows.bench import Bench

COLUMNS = (
    Column("run"),
    Column("method", 6),
    Column("base", 14, least=104),
    Column("data", 12, least=76),
    Column("step", 11, right=True),
    Column("loss", 7, right=True),
    Column("held", 7, right=True),
    Column("state", 9),
)
STRIPS = (
    ("learning_rate", "lr"),
    ("grad_norm", "grad"),
    ("tokens_per_second", "tok/s"),
    ("rewards/margins", "reward margin"),
    ("rewards/accuracies", "acc"),
    ("reward", "reward"),
    ("eval_accuracy", "held-out acc"),
    ("eval_reward", "held-out reward"),
    ("eval_divergence", "from teacher"),
)
DEVICE = (
    "memory_bytes",
    "cpu_percent",
    "gpu_memory_bytes",
    "gpu_memory_total_bytes",
    "gpu_percent",
    "gpu_celsius",
    "gpu_watts",
)
_TONES = {
    RunState.FINISHED: "good",
    RunState.FAILED: "bad",
    RunState.LOST: "bad",
    RunState.RUNNING: "busy",
    RunState.STARTING: "busy",
    RunState.STOPPING: "busy",
    RunState.PAUSED: "bad",
}
LOUD = {RunState.FAILED, RunState.LOST, RunState.PAUSED}


@dataclass(frozen=True, slots=True)
class RunLook:
    """One run with its curves, the last lines of its log, and the device's figures.

    ``warnings`` are the names of the findings that a finished run is warned of.
    """

    run: Run
    loss: tuple[Metric, ...] = ()
    """The newest points."""
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    device: Mapping[str, float] = field(default_factory=dict)
    log: tuple[str, ...] = ()
    spec: RunSpec | None = None
    checkpoint_step: int | None = None
    first_bad_step: int | None = None
    """The first step whose loss is not a number."""
    warnings: tuple[str, ...] = ()

    @property
    def time_left(self) -> TimeLeft | None:
        """How long it still needs; None unless it is running."""
        if self.run.state is not RunState.RUNNING:
            return None
        moments = [(m.step, instant(m.at_utc)) for m in self.loss]
        return time_left([(step, at.timestamp()) for step, at in moments if at], self.run.total_steps)


def look(bench: Bench, run: Run, *, log_lines: int, spec: RunSpec | None = None) -> RunLook:
    """Read all that is shown of a run; for a thread. ``spec`` spares reading it again."""
    loss = bench.curves.of(run.id, "loss")
    curves = {name: bench.curves.of(run.id, name).values for name, _ in STRIPS}
    return RunLook(
        run,
        loss=loss.newest,
        curves={name: values for name, values in curves.items() if values},
        device=_device(bench, run),
        log=tuple(flow.log_tail(bench, run, lines=log_lines)),
        spec=spec or _spec(run),
        checkpoint_step=checkpoint_step(run) if run.state.can_resume else None,
        first_bad_step=loss.first_bad_step,
        warnings=RunDirectory(Path(run.directory)).warnings() if run.state is RunState.FINISHED else (),
    )


def _device(bench: Bench, run: Run) -> dict[str, float]:
    last = {name: bench.store.runs.newest_metric(run.id, name) for name in DEVICE}
    return {name: point.value for name, point in last.items() if point}


def checkpoint_step(run: Run) -> int | None:
    """The step of its last complete checkpoint; None without one. For a thread."""
    complete = RunDirectory(Path(run.directory)).complete_checkpoints()
    return step_of(complete[-1]) if complete else None


def _spec(run: Run) -> RunSpec | None:
    try:
        return flow.spec(run)
    except RunError:
        return None  # the folder is gone; the figures in the store can still be shown


def run_row(run: Run, *, place: int | None = None, over: bool = False) -> Row:
    """One line of the list of runs; ``place`` in the queue, ``over`` for one that is laid over others."""
    steps = f"{run.step}/{run.total_steps}" if run.total_steps else "-" if not run.step else str(run.step)
    state = run.state.value.upper() if run.state in LOUD else run.state.value
    state = f"queued {place}" if place else state
    tone = _TONES.get(run.state, "muted")
    name = f"{'+' if over else ''}{'| ' if run.group else ''}{run.name}"
    figures = (number(run.loss), number(run.eval_loss))
    return Row(str(run.id), (name, run.method, run.base, run.dataset, steps, *figures, state), tone)


def title(seen: RunLook) -> str:
    """The run in a line above its curve, with the adapter that it went on from, if any."""
    run, start = seen.run, seen.spec.adapter if seen.spec else ""
    return f"{run.name}  {run.method}  {f'{start} on ' if start else ''}{run.base} ← {run.dataset}"


def figure_lines(seen: RunLook, width: int, *, ascii_only: bool = False) -> Text:
    """Where the run stands, its strips and the device, for a block of ``width`` cells and three lines.

    What went wrong and what to do about it is never cut: it is wrapped, and has the block to itself.
    """
    if seen.run.state in LOUD:
        return Text(cell(ending(seen.run, seen.checkpoint_step)))
    lines = [progress_line(seen, width, ascii_only=ascii_only), *_strips(seen, width, ascii_only=ascii_only)]
    return Text("\n", no_wrap=True, overflow="ellipsis").join([Text(cell(line, width)) for line in lines])


def progress_line(seen: RunLook, width: int, *, ascii_only: bool = False) -> str:
    """State, share, time, and as many figures of the device as fit; for a run that is over, how it ended."""
    run = seen.run
    if run.state.is_over:
        sign = "!" if ascii_only else "⚠"
        warned = f"{sign} {', '.join(seen.warnings)} (i) · " if seen.warnings else ""
        return warned + ending(run, seen.checkpoint_step)
    if run.state is RunState.QUEUED:
        return "queued: it starts when the runs before it are over"
    share = run.step / run.total_steps if run.total_steps else 0.0
    parts = [run.state.value, f"{meter(share, 10 if width < 100 else 20, ascii_only=ascii_only)} {100 * share:.0f} %"]
    parts.append(f"elapsed {duration(seconds_between(run.started_utc))}")
    if (left := seen.time_left) is not None:
        parts.append(f"left {'~' if left.rough else ''}{duration(left.seconds)}")
    line = "  ".join(parts)
    for figure in device_figures(seen.device, ascii_only=ascii_only):
        if len(line) + 2 + len(figure) <= width:
            line += f"  {figure}"
    return line


def device_figures(device: Mapping[str, float], *, ascii_only: bool = False) -> list[str]:
    """Memory and load of the trainer and of its GPU, as far as the run reported them."""
    known = {name: value for name, value in device.items() if isfinite(value)}
    shown = []
    if "memory_bytes" in known:
        shown.append(f"mem {size(int(known['memory_bytes']))}")
    if "gpu_memory_bytes" in known:
        total = known.get("gpu_memory_total_bytes")
        gauge = f" {meter(known['gpu_memory_bytes'] / total, 5, ascii_only=ascii_only)}" if total else ""
        of = f" of {size(int(total))}{gauge}" if total else ""
        shown.append(f"gpu {size(int(known['gpu_memory_bytes']))}{of}")
    for name, label in (("gpu_percent", "gpu"), ("cpu_percent", "cpu")):
        if name in known and (name == "gpu_percent" or "gpu_percent" not in known):
            share = known[name] / 100
            gauge = f" {meter(share, 5, ascii_only=ascii_only)}" if name == "gpu_percent" else ""
            shown.append(f"{label} {known[name]:.0f} %{gauge}")
    for name, unit in (("gpu_celsius", "C"), ("gpu_watts", "W")):
        if name in known:
            shown.append(f"{known[name]:.0f} {unit}")
    return shown


def ending(run: Run, checkpoint_step: int | None = None) -> str:
    """How a run ended, in a sentence, and what can be done next."""
    resume = f"r resumes from step {checkpoint_step}" if checkpoint_step else "r starts it again"
    took = seconds_between(run.started_utc, run.ended_utc) if run.ended_utc else None
    match run.state:
        case RunState.FINISHED:
            gain = held_out_gain(run)
            made = f" · made {run.adapter}" if run.adapter else ""
            return f"finished in {duration(took)}" + (f" · {gain}" if gain else "") + made
        case RunState.LOST:
            cause = (run.error.splitlines() or ["its process ended without a word"])[0]
            return f"LOST at step {run.step}: {cause}; {resume}"
        case RunState.FAILED:
            return f"FAILED: {run.error or 'no reason was given'}" + (f" · {run.hint}" if run.hint else f" · {resume}")
        case RunState.PAUSED:
            return f"PAUSED: {run.error} · {run.hint}"
        case _:
            return f"{run.state.value} at step {run.step}; {resume}"


def held_out_gain(run: Run) -> str:
    """Held-out loss before and after, "" when it was not measured."""
    if run.base_eval_loss is None or run.eval_loss is None:
        return ""
    before, after = run.base_eval_loss, run.eval_loss
    change = f" ({100 * (after - before) / before:+.0f} %)" if before else ""
    return f"held-out loss {number(before)} → {number(after)}{change}"


def _strips(seen: RunLook, width: int, *, ascii_only: bool) -> list[str]:
    bars = 6 if width < 100 else 12
    strips = []
    for name, label in STRIPS:
        if values := seen.curves.get(name, ()):
            shown = thousands(values[-1]) if name == "tokens_per_second" else number(values[-1])
            strips.append(f"{label} {shown} {sparkline(values, bars, ascii_only=ascii_only)}")
    lines, line = [], ""
    for strip in strips:
        if line and len(line) + 2 + len(strip) > width:
            lines.append(line)
            line = strip
        else:
            line = f"{line}  {strip}" if line else strip
    return [*lines, line] if line else []


def log_text(lines: Sequence[str], width: int) -> Text:
    """Log lines, cleaned and cut to the width."""
    return Text("\n".join(cell(line, width) for line in lines), no_wrap=True)


def spec_text(seen: RunLook) -> Text:
    """What the run was given: rows, knobs by the method's own names, and where it lies."""
    run, spec = seen.run, seen.spec
    lines = [("", gain)] if (gain := held_out_gain(run)) else []
    if spec is not None:
        lines += [("rows ", f"{spec.train_rows:,} to train, {spec.eval_rows:,} held out"), ("preset ", spec.preset)]
        lines += [(f"{name} ", str(value)) for name, value in spec.knobs.items()]
    lines.append(("folder ", Path(run.directory).name))
    text = Text(no_wrap=True, overflow="ellipsis")
    for label, value in lines:
        text.append(label, "bold").append(clean(value).replace("\n", " ") + "\n")
    return text


def corner(runs: Sequence[Run]) -> str:
    """How many runs are at work and waiting."""
    paused = sum(1 for run in runs if run.state is RunState.PAUSED)
    running = sum(1 for run in runs if run.state.is_active) - paused
    queued = sum(1 for run in runs if run.state is RunState.QUEUED)
    counts = {"running": running, "PAUSED": paused, "queued": queued}
    return "  ".join(f"{count} {state}" for state, count in counts.items() if count)


def fact(runs: Sequence[Run]) -> str:
    """The run at work, for the status line."""
    active = next((run for run in runs if run.state.is_active), None)
    if active is None:
        return ""
    waits = " PAUSED" if active.state is RunState.PAUSED else ""
    return f"{active.name} {active.step}/{active.total_steps or '?'}{waits}"
