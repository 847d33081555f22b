"""The same run once more: the same frozen rows by hash, the same settings and seed, on the same base.

What differs here from what the run was made with is refused, by name, unless the person says that it is meant.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.examples import Split
from workbench.domain.queries import Filter, Query
from workbench.domain.runs import REFUSALS, Run, RunSpec
from workbench.domain.training import TrainingRow
from workbench.errors import NotFoundError, RefusedError
from workbench.flows import registry
from workbench.flows.gate import counted, gate
from workbench.flows.origins import versions
from workbench.flows.run_scores import IMPORTED
from workbench.flows.train import RunPlan, free_name
from workbench.jobs.run_directory import RunDirectory, now_utc

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

VERSIONS, BASE = "versions", "base"
_BESIDE = ("general.jsonl", "canaries.jsonl")


def plan_again(bench: Bench, run: Run, *, name: str = "", allow: Sequence[str] = ()) -> RunPlan:
    """A plan that does what ``run`` did; nothing is written.

    ``allow`` may hold ``versions`` (packages differ), ``base`` (the base's weights differ) and the checks of the gate,
    which looks at its examples as at those of a new run. Raises ``RefusedError`` for those, and always when the rows
    are not what they were, or are in a test split by now.
    """
    directory = RunDirectory(Path(run.directory))
    told = directory.spec()
    if directory.row_hash() != told.row_hash:
        raise RefusedError(f"the rows of {run.name} were changed after it was made", hint="plan a new run")
    origin = directory.read_json(directory.origin_file)
    findings = [*_versions(told, allow), *_weights(bench, told, origin, allow)]
    if IMPORTED not in origin:
        _refuse_locked(bench, told)
        findings += _gated(bench, told, allow)
    rows = [_rows(path, ids) for path, ids in _files(directory, told)]
    spec = replace(
        told,
        name=free_name(bench, name, f"{run.name}-again"),
        created_utc=now_utc(),
        versions=versions(),
        command=f"workbench runs rerun {run.name}",
        group="",
        group_kind="",
        stage="",
        varied=(),
    )
    beside = {file: (directory.root / file).read_text(encoding="utf-8") for file in _there(directory)}
    beside["origin.json"] = json.dumps({**origin, "rerun_of": run.name}, indent=1) + "\n"
    reward = directory.reward_file.read_text(encoding="utf-8") if directory.reward_file.is_file() else ""
    return RunPlan(spec, rows[0], rows[1], tuple(findings), spec.command, reward, beside, directory.ticket().gpus)


def _refuse_locked(bench: Bench, told: RunSpec) -> None:
    locked = bench.store.examples.ids(Query((Filter("split", Split.TEST.value),)), dataset=None)
    if count := len(set(told.example_ids).intersection(locked)):
        verb = "is" if count == 1 else "are"
        raise RefusedError(f"{count:,} of its training rows {verb} in a test split now", hint="plan a new run")


def _gated(bench: Bench, told: RunSpec, allow: Sequence[str]) -> list[str]:
    """What the gate says of the run's examples as they are now."""
    own = [name for name in allow if name not in {VERSIONS, BASE, *REFUSALS}]
    train, held_out = (bench.store.examples.many(ids) for ids in (told.example_ids, told.eval_example_ids))
    found = gate(bench, train, held_out, evaluation=bool(told.eval_dataset), allow=own)
    gone = len(set(told.example_ids) - {example.id for example in train})
    return [*found, *([f"{counted(gone)} of it not in the workspace any more, and not looked at"] if gone else [])]


def _versions(told: RunSpec, allow: Sequence[str]) -> list[str]:
    here = versions()
    names = dict.fromkeys([*told.versions, *here])
    differ = [
        f"{n} {told.versions.get(n, '-')} → {here.get(n, '-')}" for n in names if told.versions.get(n) != here.get(n)
    ]
    if differ and VERSIONS not in allow:
        raise RefusedError(
            f"{told.name} was made with other versions: {', '.join(differ)}",
            hint="install those, or --allow versions when the losses need not be equal",
        )
    return [f"other versions than then: {', '.join(differ)}"] if differ else []


def _weights(bench: Bench, told: RunSpec, origin: dict[str, object], allow: Sequence[str]) -> list[str]:
    """What differs in the base or the adapter that the run starts from; each is looked at as it lies there now."""
    found = []
    for name, path, key in (
        (told.base, told.base_path, "base_sha256"),
        (told.adapter, told.adapter_path, "adapter_sha256"),
    ):
        wanted = str(origin.get(key, ""))
        if not path or not wanted:
            continue
        folder = Path(path)
        files = sorted(folder.glob("adapter_model*.safetensors" if key.startswith("adapter") else "*.safetensors"))
        if not files:
            raise NotFoundError(f"{name} is not in {path} any more", hint="put it back, or plan a new run", where=path)
        if registry.weights_hash(tuple(files)) != wanted:
            if BASE not in allow:
                raise RefusedError(
                    f"the weights of {name} are not those of then", hint="--allow base takes them", where=path
                )
            found.append(f"other weights of {name} than then")
    return found


def _files(directory: RunDirectory, told: RunSpec) -> tuple[tuple[Path, tuple[int, ...]], tuple[Path, tuple[int, ...]]]:
    return (directory.train_file, told.example_ids), (directory.eval_file, told.eval_example_ids)


def _rows(path: Path, ids: tuple[int, ...]) -> tuple[TrainingRow, ...]:
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    known = ids if len(ids) == len(rows) else (0,) * len(rows)
    return tuple(TrainingRow(example_id, row) for example_id, row in zip(known, rows, strict=True))


def _there(directory: RunDirectory) -> list[str]:
    return [name for name in _BESIDE if (directory.root / name).is_file()]
