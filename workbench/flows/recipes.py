"""Staged runs: a recipe read, planned whole, and queued so that each stage starts from the last one's result.

Also the way back: runs that were made, written down as a recipe. Starts no process but through ``train.launch_all``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import methods as training_methods
from workbench.domain.methods import KnobValue
from workbench.domain.recipes import Recipe, Stage, parse_recipe
from workbench.domain.runs import RECIPE, Run, RunSpec
from workbench.errors import DataError, NotFoundError, RefusedError, WorkbenchError
from workbench.flows import train
from workbench.flows.train import RunPlan
from workbench.jobs.launch import ensure_runner
from workbench.jobs.queue import parent_of
from workbench.jobs.run_directory import RunDirectory

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

LARGEST_BYTES = 1_000_000


def read(path: Path) -> Recipe:
    """The recipe in a file; raises ``NotFoundError``, or ``DataError`` with the line of what is wrong."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"the recipe cannot be read: {error.strerror}", where=path.name) from None
    if len(data) > LARGEST_BYTES:
        raise DataError(f"it has {len(data):,} bytes: that is no recipe", where=path.name)
    try:
        return parse_recipe(data.decode("utf-8"), where=path.name)
    except UnicodeDecodeError:
        raise DataError("the recipe is not UTF-8", where=path.name) from None


def plan(bench: Bench, recipe: Recipe, *, allow: Sequence[str] = ()) -> list[RunPlan]:
    """A plan for every stage, in order; starts nothing. What a stage cannot be is told with its place in the file.

    ``allow`` names checks that may say no to any stage, beside those that the file allows.
    """
    known = {run.group for run in bench.store.runs.list()}
    if recipe.name in known:
        raise RefusedError(
            f"there are runs of a recipe {recipe.name!r} already",
            hint="give this one another name; workbench runs resume goes on with those",
            where=recipe.where,
        )
    plans: dict[str, RunPlan] = {}
    for stage in recipe.stages:
        try:
            plans[stage.name] = _plan(bench, recipe, stage, plans.get(stage.after), allow)
        except WorkbenchError as error:
            error.where = f"{recipe.place(stage, error.where if error.where in stage.settings else '')}"
            raise error from None
    return list(plans.values())


def launch(bench: Bench, plans: Sequence[RunPlan], *, start_runner: train.StartRunner = ensure_runner) -> list[Run]:
    """Queue all stages; each starts when the one before it has finished, and is cancelled when that fails."""
    return train.launch_all(bench, plans, start_runner=start_runner)


def written(bench: Bench, runs: Sequence[Run]) -> str:
    """The runs as a recipe, with the settings that they had: it makes the same runs again from the same data."""
    import tomlkit

    specs = [train.spec(run) for run in runs]
    group = specs[0].group or runs[0].name
    document = tomlkit.document()
    document.add(tomlkit.comment("workbench train --recipe FILE"))
    document.add("name", tomlkit.item(f"{group}-again"))
    stages = tomlkit.aot()
    names = {
        RunDirectory(Path(run.directory)).root.name: _stage_name(spec) for run, spec in zip(runs, specs, strict=True)
    }
    for run, spec in zip(runs, specs, strict=True):
        stages.append(_as_table(run, spec, names))
    document.add("stage", stages)
    return tomlkit.dumps(document)


def stages_of(bench: Bench, run: Run) -> list[Run]:
    """The stages of the recipe that the run was made by, in their order; itself alone when it is of none."""
    if run.group_kind != RECIPE:
        return [run]
    return [one for one in reversed(bench.store.runs.list()) if (one.group, one.group_kind) == (run.group, RECIPE)]


def _plan(bench: Bench, recipe: Recipe, stage: Stage, parent: RunPlan | None, allow: Sequence[str]) -> RunPlan:
    made = train.plan(
        bench,
        method=stage.method,
        dataset=stage.dataset,
        model="" if parent else stage.model,
        preset=stage.preset,
        overrides=stage.settings,
        name=f"{recipe.name}-{stage.name}",
        eval_dataset=stage.eval_dataset,
        allow=(*stage.allow, *(name for name in allow if name not in stage.allow)),
        gpus=stage.gpus,
        general=stage.general,
        canaries=stage.canaries,
        after=parent,
    )
    spec = replace(made.spec, group=recipe.name, group_kind=RECIPE, stage=stage.name)
    return replace(made, spec=spec)


def _stage_name(spec: RunSpec) -> str:
    return spec.stage or spec.name


def _as_table(run: Run, spec: RunSpec, names: dict[str, str]) -> object:
    import tomlkit

    table = tomlkit.table()
    table.add("name", _stage_name(spec))
    table.add("method", spec.method)
    table.add("dataset", spec.dataset)
    if spec.eval_dataset:
        table.add("eval_dataset", spec.eval_dataset)
    parent = parent_of(RunDirectory(Path(run.directory)))
    if parent is not None and parent.root.name in names:
        table.add("after", names[parent.root.name])
    else:
        table.add("model", spec.adapter or spec.base)
    table.add("preset", spec.preset)
    for name, source in _measured_by(spec):
        table.add(name, source)
    changed = changed_settings(spec)
    if changed:
        settings = tomlkit.table()
        for name, value in changed.items():
            settings.add(name, value)
        table.add("set", settings)
    return table


def _measured_by(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """What was named to see what the run forgets; the spec itself only says how it was called."""
    words = shlex.split(spec.command)
    for name in ("general", "canaries"):
        if f"--{name}" in words[:-1]:
            yield name, words[words.index(f"--{name}") + 1]


def changed_settings(spec: RunSpec) -> dict[str, KnobValue]:
    """The settings that the preset does not give by itself."""
    method = training_methods.get(spec.method)
    usual = method.values(spec.preset, {"adapter": str(spec.knobs["adapter"])})
    return {
        name: value
        for name, value in spec.knobs.items()
        if name in usual and usual[name] != value and not (spec.adapter and method.knob(name).target == "adapter")
    }
