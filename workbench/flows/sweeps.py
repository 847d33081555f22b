"""Sweeps as a person does them: plan the runs, queue them, see which settings did best on the same held-out rows.

A grid and random settings are queued at once. With Optuna the next settings depend on what the last ones gave: a
process of its own asks for them as runs end; ``runner start`` and ``sweep show`` start it again after a reboot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import methods as training_methods
from workbench.domain.runs import SWEEP, Run, RunSpec, RunState, newest
from workbench.domain.sweeps import (
    GRID,
    OPTUNA,
    Dimension,
    Outcome,
    SweepTable,
    dimensions,
    drawn,
    grid,
    is_more_better,
    measure_for,
    measures_of,
    ranked,
)
from workbench.errors import NotFoundError, RefusedError, Remedy, RunError, UsageError
from workbench.flows import train
from workbench.flows.gathered import Gathered
from workbench.flows.presets import AUTO
from workbench.flows.train import RunPlan
from workbench.jobs.launch import ensure_runner
from workbench.jobs.processes import child_environment, module_argv, spawn_detached
from workbench.jobs.run_directory import RunDirectory

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

AT_ONCE = 2
"""Optuna's runs that wait or train at the same time: more of them learn less from each other."""
_FOLDER, _LOCK = ".sweeps", ".lock"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is swept: the words of ``train`` that all runs share, the space, how it is walked, and what is best.

    ``rank_by`` is a figure of the held-out rows; "" is the method's own.
    """

    name: str
    method: str
    dataset: str
    space: tuple[str, ...]
    search: str = GRID
    trials: int = 0
    model: str = ""
    preset: str = AUTO
    overrides: Mapping[str, str] | None = None
    eval_dataset: str = ""
    allow: tuple[str, ...] = ()
    gpus: str = "auto"
    general: str = ""
    canaries: str = ""
    rank_by: str = ""

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The space: knobs, and other arguments of the trainer's config; raises ``UsageError``."""
        method = training_methods.get(self.method)
        found = dimensions(partial(training_methods.setting, method), self.space)
        given = dict(self.overrides or {})
        given |= training_methods.argument_values(method, given.get("arguments", ""))
        if fixed := set(given) & {one.name for one in found}:
            name = min(fixed)
            raise UsageError(f"{name} is both set and swept", hint=f"leave out one of --set {name} and --sweep {name}")
        return found

    @property
    def measure(self) -> str:
        """What its runs are compared by; raises ``UsageError``."""
        names = [one.name for one in self.dimensions]
        return measure_for(training_methods.get(self.method), self.rank_by, names)


def plan(bench: Bench, sweep: Sweep) -> list[RunPlan]:
    """The runs to queue at once; starts nothing. Raises ``RefusedError`` when they could not be compared."""
    sweep = _named(bench, sweep)
    space, seed, _ = sweep.dimensions, _seed(sweep), sweep.measure
    if sweep.search == GRID:
        settings = grid(space)
    elif sweep.search == OPTUNA:
        settings = _asked(sweep, space, (), min(AT_ONCE, _trials(sweep)))
    else:
        settings = drawn(space, _trials(sweep), seed=seed)
    if len(settings) < 2 and sweep.search == GRID:
        raise UsageError("a sweep of one run", hint="give a setting two values or more, with commas between")
    gathered = Gathered()
    plans = [_plan(bench, sweep, one, number, gathered) for number, one in enumerate(settings, start=1)]
    _refuse_other_rows(plans)
    return plans


def launch(
    bench: Bench, sweep: Sweep, plans: Sequence[RunPlan], *, start_runner: train.StartRunner = ensure_runner
) -> list[Run]:
    """Queue the runs; for Optuna also remember what to ask for, and start the process that does."""
    sweep = replace(sweep, name=plans[0].spec.group)
    if sweep.search == OPTUNA:
        path = _definition(bench, sweep.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(sweep)), encoding="utf-8")
    made = train.launch_all(bench, plans, start_runner=start_runner)
    if sweep.search == OPTUNA:
        _start_asking(bench, sweep.name)
    return made


def table(bench: Bench, name: str, *, rank_by: str = "") -> SweepTable:
    """Every run of a sweep with its settings and its result; raises ``NotFoundError``.

    ``rank_by`` compares them by another figure than the one that the sweep was made with; raises ``UsageError`` for one
    that the method does not measure.
    """
    runs = [run for run in bench.store.runs.list() if run.group == name and run.group_kind == SWEEP]
    if not runs:
        raise NotFoundError(f"there is no sweep {name!r}", hint="workbench sweep list shows them")
    specs = {run.id: RunDirectory(Path(run.directory)).spec() for run in runs}
    first = specs[runs[0].id]
    method = training_methods.get(first.method)
    measure = measure_for(method, rank_by or first.rank_by, first.varied)
    # What the method is usually compared by decides first between runs that are equal in the wanted figure.
    figures = (measure, *(figure for figure in measures_of(method) if figure not in {measure, "perplexity"}))
    outcomes = [_outcome(bench, run, specs[run.id], figures) for run in runs]
    same = len({spec.row_hash for spec in specs.values()}) == 1
    return SweepTable(name, first.varied, measure, ranked(outcomes, measure), same)


def names(bench: Bench) -> list[str]:
    """Every sweep, newest first."""
    return list(dict.fromkeys(run.group for run in bench.store.runs.list() if run.group_kind == SWEEP))


def ask_on(bench: Bench, name: str, *, start_runner: train.StartRunner = ensure_runner) -> list[Run]:
    """Queue what Optuna wants next, given what has ended; empty when enough are at work or all trials are used."""
    sweep = _read(bench, name)
    train.sync(bench, start_runner=start_runner)
    found = table(bench, name)
    open_runs = [o for o in found.outcomes if o.state in {s.value for s in RunState if not s.is_over}]
    wanted = min(AT_ONCE - len(open_runs), sweep.trials - len(found.outcomes))
    if wanted < 1:
        return []
    settings = _asked(sweep, sweep.dimensions, found.outcomes, wanted)
    # By the last one's number: a run in between may have been deleted.
    start = 1 + max(_number(outcome.name) for outcome in found.outcomes)
    gathered = Gathered()
    plans = [_plan(bench, sweep, one, number, gathered) for number, one in enumerate(settings, start=start)]
    return train.launch_all(bench, plans, start_runner=start_runner)


def is_asking_over(bench: Bench, name: str) -> bool:
    """True when all trials were queued, all were deleted, or nobody asks for this sweep."""
    made = sum((run.group, run.group_kind) == (name, SWEEP) for run in bench.store.runs.list())
    return not _definition(bench, name).is_file() or not made or made >= _read(bench, name).trials


def keep_asking(bench: Bench) -> None:
    """Start the asking process of every sweep that has trials left and none at work, after a reboot for example."""
    for path in sorted((bench.workspace.runs / _FOLDER).glob("*.json")):
        name = _name_in(path)
        if name and not is_asking_over(bench, name):
            _start_asking(bench, name)


def asking_lock(bench: Bench, name: str) -> Path:
    """The lock that the asking process of a sweep holds."""
    return _definition(bench, name).with_suffix(_LOCK)


def _start_asking(bench: Bench, name: str) -> None:
    from filelock import FileLock, Timeout  # 20 ms

    try:
        with FileLock(asking_lock(bench, name), timeout=0):
            pass
    except Timeout:
        return
    command = module_argv("workbench", "-w", str(bench.workspace.root), "-q", "sweep", "ask", name)
    spawn_detached(command, bench.workspace.runs / _FOLDER / f"{name}.log", child_environment())


def _named(bench: Bench, sweep: Sweep) -> Sweep:
    taken = {run.group for run in bench.store.runs.list()} | {run.name for run in bench.store.runs.list()}
    if sweep.name and sweep.name in taken:
        raise RefusedError(f"a sweep or run called {sweep.name!r} is there already", hint="choose another --name")
    stem = f"{sweep.dataset}-{sweep.method}-sweep"
    free = next(name for i in range(1, 10_000) if (name := stem if i == 1 else f"{stem}-{i}") not in taken)
    return replace(sweep, name=sweep.name or free)


def _trials(sweep: Sweep) -> int:
    if sweep.trials < 1:
        raise UsageError(f"--search {sweep.search} needs --trials N", hint="how many runs to make in all")
    return sweep.trials


def _seed(sweep: Sweep) -> int:
    method = training_methods.get(sweep.method)
    return int((sweep.overrides or {}).get("seed", method.knob("seed").default))


def _plan(bench: Bench, sweep: Sweep, settings: Mapping[str, str], number: int, gathered: Gathered) -> RunPlan:
    made = train.plan(
        bench,
        method=sweep.method,
        dataset=sweep.dataset,
        model=sweep.model,
        preset=sweep.preset,
        overrides={**(sweep.overrides or {}), **settings},
        name=f"{sweep.name}-{number}",
        eval_dataset=sweep.eval_dataset,
        allow=sweep.allow,
        gpus=sweep.gpus,
        general=sweep.general,
        canaries=sweep.canaries,
        gathered=gathered,
    )
    varied = tuple(one.name for one in sweep.dimensions)
    told = replace(made.spec, group=sweep.name, group_kind=SWEEP, varied=varied, rank_by=sweep.rank_by)
    return replace(made, spec=told)


def _refuse_other_rows(plans: Sequence[RunPlan]) -> None:
    if len({plan.spec.eval_example_ids for plan in plans}) > 1:
        raise RefusedError(
            "the runs would be measured on different rows, and could not be compared",
            hint="mark rows as validation, or name --eval-dataset",
        )
    if plans and not plans[0].eval_rows:
        raise RefusedError(
            "nothing is held out: there is nothing to compare the runs by",
            hint="--set eval_share=0.1",
            remedies=[Remedy("a tenth of the rows is held out", {"eval_share": "0.1"})],
        )


def _outcome(bench: Bench, run: Run, spec: RunSpec, figures: Sequence[str]) -> Outcome:
    values = {name: _last(bench, run, name) for name in figures}
    # What was asked for: a trainer that ran out of memory may have changed a batch on its way.
    settings = {name: training_methods.setting_text(spec.knobs, name) for name in spec.varied}
    value = values.pop(figures[0])
    warnings = RunDirectory(Path(run.directory)).warnings()
    is_finished = run.state is RunState.FINISHED
    return Outcome(run.id, run.name, settings, run.state.value, value, is_finished, values, warnings)


def _last(bench: Bench, run: Run, figure: str) -> float | None:
    found = newest(bench.store.runs.metrics(run.id, f"eval_{figure}"))
    return found.value if found else None


def _number(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _name_in(path: Path) -> str:
    """The sweep that a definition is of ("" for none); its file's name has no slash where the sweep's has one."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _definition(bench: Bench, name: str) -> Path:
    return bench.workspace.runs / _FOLDER / f"{name.replace('/', '-')}.json"


def _read(bench: Bench, name: str) -> Sweep:
    try:
        values: dict[str, Any] = json.loads(_definition(bench, name).read_text(encoding="utf-8"))
        lists = {key: tuple(v) for key, v in values.items() if isinstance(v, list)}
        return Sweep(**(values | lists))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"nobody asks for runs of {name}: {error}") from None


def _asked(sweep: Sweep, space: Sequence[Dimension], outcomes: Sequence[Outcome], count: int) -> list[dict[str, str]]:
    """Optuna's next settings: told every result so far, and which settings are still at work."""
    try:
        import optuna  # 0.7 s
    except ImportError:
        raise UsageError(
            "--search optuna needs the package optuna", hint="pip install 'workbench[sweep]', or --search random"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ways = {one.name: _distribution(optuna, one) for one in space}
    seed = _seed(sweep) + len(outcomes)
    study = optuna.create_study(
        direction="maximize" if is_more_better(sweep.measure) else "minimize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(4, 2 * len(space)), constant_liar=True),
    )
    for one in sorted(outcomes, key=lambda outcome: outcome.run_id):
        study.add_trial(_told(optuna, one, space, ways))
    asked = [study.ask(ways) for _ in range(count)]
    return [{d.name: _text(d, trial.params[d.name]) for d in space} for trial in asked]


def _distribution(optuna: Any, one: Dimension) -> Any:
    if one.values:
        return optuna.distributions.CategoricalDistribution(one.values)
    if one.is_whole:
        return optuna.distributions.IntDistribution(int(one.low), int(one.high), log=one.is_log)
    return optuna.distributions.FloatDistribution(one.low, one.high, log=one.is_log)


def _told(optuna: Any, outcome: Outcome, space: Sequence[Dimension], ways: Mapping[str, Any]) -> Any:
    states = optuna.trial.TrialState
    is_open = outcome.state in {state.value for state in RunState if not state.is_over}
    good = outcome.is_finished and outcome.value is not None and outcome.value == outcome.value
    state = states.COMPLETE if good else states.RUNNING if is_open else states.FAIL
    params = {one.name: _param(one, outcome.settings[one.name]) for one in space}
    create = partial(optuna.trial.create_trial, params=params, distributions=dict(ways), state=state)
    return create(value=outcome.value) if good else create()


def _param(one: Dimension, text: str) -> str | float:
    if not one.values:
        inside = min(max(float(text), one.low), one.high)  # the text is a rounded number
        return int(inside) if one.is_whole else inside
    same = one.knob.parse(text)
    return next(value for value in one.values if one.knob.parse(value) == same)


def _text(one: Dimension, value: Any) -> str:
    return str(value) if one.values else one.text(float(value))
