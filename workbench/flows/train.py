"""Training as a person does it: plan a run, start it, watch it, stop it, go on with it.

Owns what goes into a run and the order of things. The work is done by other processes that know
neither the store nor us, so everything here can be repeated: ``sync`` reads on from where it was.
"""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import methods as training_methods
from workbench.domain.counting import counted
from workbench.domain.methods import PLATEAU, SCHEDULE, KnobValue, Method
from workbench.domain.models import check_name
from workbench.domain.placement import PROCESSES, shared
from workbench.domain.queues import AUTO as ANY_GPU
from workbench.domain.queues import Ticket, wish
from workbench.domain.runs import GAINS, REFUSALS, Metric, Run, RunSpec, RunState, RunStatus, newest
from workbench.domain.training import TrainingRow
from workbench.errors import RefusedError, Remedy, RunError
from workbench.flows import registry
from workbench.flows.gate import OnProgress
from workbench.flows.gathered import Gathered, Wanted
from workbench.flows.origins import origin_text, versions
from workbench.flows.presets import AUTO, fitted, for_rows, taken_preset
from workbench.flows.retention import aside_of
from workbench.flows.rewards import reward_of
from workbench.flows.run_news import take_over
from workbench.flows.run_rows import rows_of
from workbench.flows.start import PROMISED, knobs_from, promised, start_of
from workbench.flows.teachers import teacher_of
from workbench.jobs import processes, ranks, slurm
from workbench.jobs.launch import ensure_runner, runner_is_running
from workbench.jobs.processes import ProcessIdentity
from workbench.jobs.queue import children_of, parent_of
from workbench.jobs.run_directory import KILL, STOP, RunDirectory, now_utc
from workbench.jobs.settling import is_at_work, settle

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

KILL_PATIENCE_SECONDS = 10.0

StartRunner = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run that could be started: its spec, its rows, what is worth knowing before, and the command that does it.

    ``gpus`` are those it wants (as ``workbench.domain.queues.wish`` takes them). ``after`` is the planned run from
    whose result it starts, "" for none; ``like`` then names a registered model of that result's shape.
    """

    spec: RunSpec
    train_rows: tuple[TrainingRow, ...]
    eval_rows: tuple[TrainingRow, ...]
    findings: tuple[str, ...]
    command: str
    reward_source: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Further files to freeze beside the rows: where they came from, general text, canary prompts."""
    gpus: str = ANY_GPU
    after: str = ""
    like: str = ""
    allow: tuple[str, ...] = ()
    """What it may be refused for and is to be started all the same."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why each value that nobody asked for is what it is, by knob."""

    @property
    def said(self) -> str:
        """The run in a line: method, rows, what varies in it, and the run that it waits for."""
        spec = self.spec
        varied = [f"{name}={training_methods.setting_text(spec.knobs, name)}" for name in spec.varied]
        after = [f"after {self.after}"] if self.after else []
        return f"{spec.name}: {', '.join([spec.method, counted(spec.train_rows, 'rows'), *varied, *after])}"


def methods() -> dict[str, Method]:
    """The training methods there are, by name."""
    return training_methods.find()


def plan(
    bench: Bench,
    *,
    method: str,
    dataset: str,
    model: str = "",
    preset: str = AUTO,
    overrides: Mapping[str, str] | None = None,
    name: str = "",
    eval_dataset: str = "",
    allow: Sequence[str] = (),
    general: str = "",
    canaries: str = "",
    gpus: str = ANY_GPU,
    after: RunPlan | None = None,
    gathered: Gathered | None = None,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> RunPlan:
    """What a run would do; starts nothing and writes nothing.

    ``model`` is a base, or an adapter to go on from (default: the workspace's default model). Only accepted examples
    count, and none of the test split. ``allow`` names checks whose errors are meant so; ``general`` and ``canaries``
    are what is measured beside the task, as ``retention.aside_of`` takes them. Raises ``UsageError`` for a setting,
    ``NotFoundError`` for a name, and ``RefusedError`` when there is nothing to train on or a check finds rows that must
    not be trained on, with what to do about it. ``after`` is a planned run from whose result this one starts, in the
    place of ``model``.

    Many rows take a minute to be checked for the first time, which ``on_progress`` hears of and ``cancelled`` ends with
    a ``WorkbenchError``. With the same ``gathered`` another plan of the same rows is made at once.
    """
    wish(gpus)
    chosen = training_methods.get(method)
    given = training_methods.with_arguments(chosen, overrides or {})
    beginning = promised(bench, after.spec, after.like or after.spec.base) if after else start_of(bench, model)
    start, base = beginning.model, beginning.base
    facts = registry.describe(bench, beginning.seen)
    taken = taken_preset(preset, facts)
    knobs = fitted(knobs_from(beginning, chosen, taken, given), facts, given)
    if PROCESSES not in given and (gpu_count := wish(gpus).count) > 1:
        knobs[PROCESSES] = gpu_count
    shared(chosen, knobs, int(knobs[PROCESSES]))
    reward = reward_of(bench, chosen, knobs)
    teacher = teacher_of(bench, chosen, knobs, beginning)
    aside = aside_of(bench, beginning.seen, general=general, canaries=canaries)
    wanted = Wanted(chosen, dataset, eval_dataset, knobs, [name for name in allow if name not in REFUSALS])
    data = (gathered or Gathered()).of(bench, wanted, on_progress=on_progress, cancelled=cancelled)
    rows, held_out, replay = data.rows, data.held_out, data.replay
    _refuse_stop_unseen(knobs, is_measured=bool(held_out))
    sized = for_rows(chosen, taken, knobs, rows=len(rows), given=given)
    run_name = free_name(bench, name, f"{dataset}-{method}")
    command = _command(
        {
            "--method": method,
            "--dataset": dataset,
            "--model": start.name,
            "--preset": taken,
            "--eval-dataset": eval_dataset,
            "--name": run_name,
            "--general": general,
            "--canaries": canaries,
            "--gpus": "" if gpus == ANY_GPU else gpus,
        },
        given,
        allow,
    )
    spec = RunSpec(
        name=run_name,
        method=method,
        base=base.name,
        base_path=base.path,
        dataset=bench.store.datasets.get(dataset).name,
        knobs=sized.knobs,
        train_rows=len(rows),
        eval_rows=len(held_out),
        row_hash="",
        example_ids=tuple(row.example_id for row in rows),
        eval_example_ids=tuple(row.example_id for row in held_out),
        adapter=start.name if start is not base else "",
        adapter_path=start.path if start is not base else "",
        preset=taken,
        seed=int(knobs["seed"]),
        created_utc=now_utc(),
        versions=versions(),
        command=command,
        reward=reward.name,
        reward_path=reward.path,
        reward_base_path=reward.base_path,
        reward_sha256=reward.sha256,
        teacher=teacher.name,
        teacher_path=teacher.path,
        teacher_base_path=teacher.base_path,
        general=aside.source,
        eval_dataset=bench.store.datasets.get(eval_dataset).name if eval_dataset else "",
        replay_dataset=replay[0].dataset if replay else "",
        replay_rows=len(rows_of(chosen, replay, 0)),
    )
    limit = bench.settings.training.retention_limit
    origin = origin_text(base, start, data.dealt, limit=limit, teacher=teacher.hashes)
    beside = {**aside.files, "origin.json": origin}
    return RunPlan(
        spec,
        rows,
        held_out,
        (*teacher.findings, *data.findings, *aside.findings),
        command,
        reward.source,
        beside,
        gpus,
        after.spec.name if after else "",
        beginning.seen.name if after else "",
        tuple(allow),
        sized.reasons,
    )


def _refuse_stop_unseen(knobs: Mapping[str, KnobValue], *, is_measured: bool) -> None:
    """Nothing ends early, and no rate falls, by measurements that nobody makes."""
    ways = []
    if knobs["early_stopping_patience"]:
        ways.append(("early_stopping_patience", Remedy("it goes to the last step", {"early_stopping_patience": "0"})))
    if knobs[SCHEDULE] == PLATEAU:
        ways.append((SCHEDULE, Remedy("the rate falls by a cosine", {SCHEDULE: "cosine"})))
    if not ways or (knobs["eval_steps"] and is_measured):
        return
    name, other = ways[0]
    if not knobs["eval_steps"]:
        said = f"{name}={knobs[name]}: nothing is measured before the end"
        raise RefusedError(said, hint="--set eval_steps=N, every N steps", remedies=[other])
    own = [] if knobs.get("eval_share") else [Remedy("a tenth of the rows is held out", {"eval_share": "0.1"})]
    said = f"{name}={knobs[name]}: no row is held out to measure it by"
    raise RefusedError(said, hint="--set eval_share=0.1", remedies=[*own, other])


def launch(bench: Bench, planned: RunPlan, *, start_runner: StartRunner = ensure_runner) -> Run:
    """Freeze the plan into a run directory, queue it, and see to it that a runner is at work."""
    return launch_all(bench, [planned], start_runner=start_runner)[0]


def launch_all(bench: Bench, plans: Sequence[RunPlan], *, start_runner: StartRunner = ensure_runner) -> list[Run]:
    """Freeze the plans into run directories, queue them in this order, and see to it that a runner is at work.

    A run is queued only once the store knows it, so a kill in between leaves no run that nobody sees, and at once
    after that, so that no other bench takes it for one that was never queued. A plan ``after`` another of these starts
    from what that one will have made. The runner frees the GPU in its turn.
    """
    folders: dict[str, Path] = {}
    made = []
    for planned in plans:
        run, directory = _freeze(bench, planned, folders)
        folders[run.name] = directory.root
        after = folders[planned.after].name if planned.after else ""
        directory.write_ticket(Ticket(gpus=planned.gpus, after=after))
        directory.enqueue()
        made.append(run)
    start_runner(bench.workspace.runs)
    return made


def hold(bench: Bench, planned: RunPlan) -> Run:
    """Freeze the plan into a run directory and leave it at that: ``resume`` queues it, and it can be sent elsewhere."""
    run, directory = _freeze(bench, planned, {})
    directory.write_ticket(Ticket(gpus=planned.gpus))
    hint = "made, and not queued: resume queues it, send trains it elsewhere"
    directory.write_status(RunStatus(RunState.CANCELLED, hint=hint))
    return take_over(bench, run)


def _freeze(bench: Bench, planned: RunPlan, folders: Mapping[str, Path]) -> tuple[Run, RunDirectory]:
    told = planned.spec
    told = replace(told, base_path=_real(told.base_path, folders), adapter_path=_real(told.adapter_path, folders))
    with bench.store.write():
        folder = free_folder(bench.workspace.runs, bench.store.runs.next_id(), told.name)
        directory = RunDirectory.create(folder, told, _lines(planned.train_rows), _lines(planned.eval_rows))
        if planned.reward_source:
            directory.reward_file.write_text(planned.reward_source, encoding="utf-8")
        for name, text in planned.beside.items():
            (folder / name).write_text(text, encoding="utf-8")
        return bench.store.runs.add(told, str(folder)), directory


def _real(path: str, folders: Mapping[str, Path]) -> str:
    """The path with the folder that a planned run now has in the place of its name."""
    if not path.startswith(PROMISED):
        return path
    name, _, result = path.removeprefix(PROMISED).rpartition("/")
    return str(folders[name] / result)


def runs(bench: Bench) -> list[Run]:
    """Every run as the store last saw it, newest first; ``sync`` brings the news."""
    return bench.store.runs.list()


def spec(run: Run) -> RunSpec:
    """What the run does: as it was told, with the knobs that its trainer had to change on the way, such as a smaller
    batch. Raises ``RunError`` when its folder is gone.
    """
    directory = RunDirectory(Path(run.directory))
    told = directory.spec()
    return replace(told, knobs={**told.knobs, **directory.adjusted()})


def sync(bench: Bench, *, start_runner: StartRunner = ensure_runner) -> list[Run]:
    """Take over what is new in all run directories; gives back the runs that changed.

    Runs whose process is gone are settled, finished ones get their model registered, and a queue that no runner works
    on gets one. Repeating it, or two benches doing it at once, changes nothing.
    """
    before = bench.store.runs.list()
    changed = [now for run in before if (now := take_over(bench, run)) != run]
    folder = bench.workspace.runs
    if any(run.state is RunState.QUEUED for run in bench.store.runs.list()) and not runner_is_running(folder):
        start_runner(folder)
    return changed


def stop(bench: Bench, run: Run) -> Run:
    """Ask the run to finish its step, save a checkpoint and end; a queued one is cancelled, also one that waits in
    Slurm's queue. Returns at once.
    """
    directory, status = _present(run)
    if job := slurm.waiting_job(directory):
        slurm.take_back(directory, job)
        hint = "taken back from Slurm: resume queues it here"
        directory.write_status(replace(status, state=RunState.CANCELLED, hint=hint))
        return take_over(bench, run)
    if not status.state.is_active and status.state is not RunState.QUEUED:
        hint = (directory.status() or status).hint
        raise RunError(f"{run.name} is {status.state.value}: there is nothing to stop", hint=hint)
    directory.request(STOP)
    if status.state is RunState.QUEUED:
        directory.write_status(replace(status, state=RunState.CANCELLED, ended_utc=now_utc()))
    return take_over(bench, run)


def stop_said(run: Run) -> str:
    """What ``stop`` did to the run, from what it gave back, as a sentence."""
    if run.state is RunState.CANCELLED:
        return f"{run.name} is {run.hint or 'taken from the queue: resume queues it again'}"
    if not run.state.is_active:
        return f"{run.name} is {run.state.value}"
    return f"{run.name} saves a checkpoint and stops; resume goes on with it"


def kill(bench: Bench, run: Run) -> Run:
    """End the run's trainer now, without a checkpoint; what was saved before can be resumed."""
    directory, status = _present(run)
    if status.pid is None or not status.state.is_active:
        raise RunError(f"{run.name} is {status.state.value}: there is nothing to kill")
    if elsewhere := directory.heartbeat_elsewhere():
        raise RunError(f"{run.name} runs on {elsewhere}: it can only be killed there", hint="stop works from here")
    with suppress(OSError):  # a full disk: it is ended all the same
        directory.request(KILL)
    trainer = ProcessIdentity(status.pid, status.process_started or 0.0)
    trainer.kill_all()
    patience = time.monotonic() + KILL_PATIENCE_SECONDS
    while trainer.is_alive() and time.monotonic() < patience:
        time.sleep(0.05)
    settle(directory)
    return take_over(bench, run)


def resume(bench: Bench, run: Run, *, processes: int = 0, start_runner: StartRunner = ensure_runner) -> Run:
    """Queue the run again; it goes on from its last complete checkpoint, or from the beginning without one.

    Runs that were cancelled because they start from its result are queued again with it. ``processes`` is the number to
    go on with (0: as before). Raises ``RefusedError`` when a step's rows cannot be shared out between them, or they
    cannot go on from its checkpoint.
    """
    directory = RunDirectory(Path(run.directory))
    told = spec(run)
    status = directory.status()
    parent = parent_of(directory)
    state = parent.status() if parent is not None else None
    if parent is not None and (state is None or (state.state.is_over and state.state is not RunState.FINISHED)):
        raise RunError(
            f"{run.name} starts from the result of {parent.root.name}, which has none",
            hint=f"resume {parent.root.name}: it takes {run.name} with it",
        )
    if status is not None and not status.state.can_resume:
        again = "runs rerun makes the same once more" if status.state is RunState.FINISHED else ""
        raise RunError(f"{run.name} is {status.state.value}: there is nothing to resume", hint=again)
    if job := slurm.waiting_job(directory):
        raise RunError(f"{run.name} waits as Slurm's job {job}", hint="stop takes it back; then resume it")
    if status is not None and is_at_work(directory):
        raise RunError(f"the trainer of {run.name} is still at work", hint="wait until it has ended")
    if processes:
        shared(training_methods.get(told.method), told.knobs, processes)
        for checkpoint in directory.complete_checkpoints()[-1:]:
            ranks.refuse_other_number(checkpoint, processes)
        directory.adjust({PROCESSES: processes})
    directory.enqueue()
    _enqueue_children(directory)
    start_runner(bench.workspace.runs)
    return take_over(bench, run)


def _enqueue_children(directory: RunDirectory) -> None:
    """Those that were cancelled for want of this one's result; not those that a person cancelled."""
    for child in children_of(directory):
        status = child.status()
        if status is not None and status.state is RunState.CANCELLED and not child.requested():
            child.enqueue()
            _enqueue_children(child)


def log_tail(bench: Bench, run: Run, *, lines: int = 20) -> list[str]:
    """The last lines that the trainer printed; empty before it printed any."""
    return processes.log_tail(RunDirectory(Path(run.directory)).log_file, lines=lines)


def metrics(bench: Bench, run: Run, name: str) -> list[Metric]:
    """One curve of the run by step: ``loss``, ``eval_loss``, ``tokens_per_second``, ``memory_bytes`` and so on."""
    return bench.store.runs.metrics(run.id, name)


def gains(bench: Bench, run: Run) -> dict[str, tuple[float, float]]:
    """What was measured on held-out rows beside the loss, before and after: accuracy, margin, mean reward."""
    return measured(bench, run, GAINS)


def measured(
    bench: Bench, run: Run, names: Sequence[str] = ("loss", "perplexity", *GAINS)
) -> dict[str, tuple[float, float]]:
    """What was measured on held-out rows before and after, by name; a figure that lacks one of both is left out."""
    found: dict[str, tuple[float, float]] = {}
    for name in names:
        before, after = (newest(metrics(bench, run, f"{prefix}_{name}")) for prefix in ("base_eval", "eval"))
        if before and after:
            found[name] = (before.value, after.value)
    return found


def notes(run: Run) -> list[str]:
    """The sentences that the trainer left for the person: rows cut, resumed from where, and the like."""
    events, _ = RunDirectory(Path(run.directory)).events()
    return [str(event.get("text", "")) for event in events if event["event"] == "note"]


def free_name(bench: Bench, wanted: str, stem: str) -> str:
    """A name that no run and no model has: ``wanted``, refused when it is taken, else made from ``stem``."""
    taken = {run.name for run in bench.store.runs.list()} | {model.name for model in bench.store.models.list()}
    if wanted:
        if wanted in taken:
            raise RefusedError(f"a run or model called {wanted!r} is there already", hint="choose another --name")
        return check_name(wanted, what="run")
    stem = check_name(stem[:80], what="run")
    return next(n for i in count(1) if (n := stem if i == 1 else f"{stem}-{i}") not in taken)


def _command(flags: Mapping[str, str], given: Mapping[str, str], allow: Sequence[str]) -> str:
    words = [word for flag, value in flags.items() if value for word in (flag, value)]
    settings = [word for name, value in given.items() for word in ("--set", f"{name}={value}")]
    allowed = [word for name in allow for word in ("--allow", name)]
    return shlex.join(["workbench", "train", *words, *settings, *allowed])


def _lines(rows: Sequence[TrainingRow]) -> Iterator[str]:
    return (json.dumps(row.row, ensure_ascii=True) for row in rows)


def free_folder(runs_folder: Path, number: int, name: str) -> Path:
    """Where the run with this number and name will have its folder."""
    stem = f"{number}-{name.replace('/', '-')}"
    folders = (runs_folder / (stem if i == 1 else f"{stem}-{i}") for i in count(1))
    return next(folder for folder in folders if not folder.exists())


def _present(run: Run) -> tuple[RunDirectory, RunStatus]:
    directory = RunDirectory(Path(run.directory))
    status = directory.status()
    if status is None:
        raise RunError(f"{run.name} was never queued", hint="resume queues it")
    return directory, status
