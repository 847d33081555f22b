"""The same run once more: the same frozen rows by hash, the same settings and seed, on the same base.

What differs here from what the run was made with is refused, by name, unless the person says that it is meant.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import methods as training_methods
from workbench.domain.examples import Example, Split
from workbench.domain.queries import Filter, Query
from workbench.domain.runs import REFUSALS, Run, RunSpec
from workbench.domain.training import TrainingRow, training_rows
from workbench.errors import NotFoundError, RefusedError
from workbench.flows.gate import counted, gate
from workbench.flows.origins import versions
from workbench.flows.run_scores import IMPORTED
from workbench.flows.train import RunPlan, free_name
from workbench.jobs.run_directory import RunDirectory, now_utc
from workbench.jobs.run_facts import ADAPTER_WEIGHTS, WHOLE_WEIGHTS, weights_hash

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
    is_ours = IMPORTED not in origin  # else its numbers are of another workspace's examples
    rows = [_rows(path, ids if is_ours else ()) for path, ids in _files(directory, told)]
    if is_ours:
        _refuse_locked(bench, told)
        findings += _gated(bench, told, rows[0], allow)
    spec = replace(
        told,
        name=free_name(bench, name, f"{run.name}-again"),
        created_utc=now_utc(),
        versions=versions(),
        command=shlex.join(["workbench", "runs", "rerun", run.name, *(w for name in allow for w in ("--allow", name))]),
        group="",
        group_kind="",
        stage="",
        varied=(),
        rank_by="",
    )
    beside = {file: (directory.root / file).read_text(encoding="utf-8") for file in _there(directory)}
    beside["origin.json"] = json.dumps({**origin, "rerun_of": run.name}, indent=1) + "\n"
    reward = directory.reward_file.read_text(encoding="utf-8") if directory.reward_file.is_file() else ""
    wanted = directory.ticket().gpus
    return RunPlan(spec, rows[0], rows[1], tuple(findings), spec.command, reward, beside, wanted, allow=tuple(allow))


def _refuse_locked(bench: Bench, told: RunSpec) -> None:
    locked = bench.store.examples.ids(Query((Filter("split", Split.TEST.value),)), dataset=None)
    if count := len(set(told.example_ids).intersection(locked)):
        verb = "is" if count == 1 else "are"
        raise RefusedError(f"{count:,} of its training rows {verb} in a test split now", hint="plan a new run")


def _gated(bench: Bench, told: RunSpec, rows: Sequence[TrainingRow], allow: Sequence[str]) -> list[str]:
    """What the gate says of the run's examples as they are now, and how many are not as its rows have them."""
    own = [name for name in allow if name not in {VERSIONS, BASE, *REFUSALS}]
    train, held_out = (bench.store.examples.many(ids) for ids in (told.example_ids, told.eval_example_ids))
    found = gate(bench, train, held_out, evaluation=bool(told.eval_dataset), allow=own)
    if gone := len(set(told.example_ids) - {example.id for example in train}):
        found.append(f"{counted(gone)} of it not in the workspace any more, and not looked at")
    if changed := _changed(told, rows, train):
        found.append(f"{counted(changed)} of it changed in the workspace since: it trains on what they were then")
    return found


def _changed(told: RunSpec, rows: Sequence[TrainingRow], examples: Sequence[Example]) -> int:
    """How many of the examples would make other rows now than the run has; 0 where its rows have no numbers."""
    if not any(row.example_id for row in rows):
        return 0
    then, now = (_by_example(of) for of in (rows, training_rows(examples, training_methods.get(told.method).kinds[0])))
    return sum(then.get(one.id, []) != now.get(one.id, []) for one in {e.id: e for e in examples}.values())


def _by_example(rows: Iterable[TrainingRow]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for row in rows:
        found.setdefault(row.example_id, []).append(json.dumps(row.row, sort_keys=True))
    return {example_id: sorted(set(texts)) for example_id, texts in found.items()}


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
            allow=[VERSIONS],
        )
    return [f"other versions than then: {', '.join(differ)}"] if differ else []


def _weights(bench: Bench, told: RunSpec, origin: dict[str, object], allow: Sequence[str]) -> list[str]:
    """What differs in the models that the run starts from or learns from; each is looked at as it lies there now."""
    found = []
    for name, path, key, weights in (
        (told.base, told.base_path, "base_sha256", WHOLE_WEIGHTS),
        (told.adapter, told.adapter_path, "adapter_sha256", ADAPTER_WEIGHTS),
        (
            told.teacher,
            told.teacher_path,
            "teacher_sha256",
            ADAPTER_WEIGHTS if told.teacher_base_path else WHOLE_WEIGHTS,
        ),
        (f"the base of {told.teacher}", told.teacher_base_path, "teacher_base_sha256", WHOLE_WEIGHTS),
    ):
        wanted = str(origin.get(key, ""))
        if not path or not wanted:
            continue
        folder = Path(path)
        files = sorted(folder.glob(weights))
        if not files:
            raise NotFoundError(f"{name} is not in {path} any more", hint="put it back, or plan a new run", where=path)
        if weights_hash(tuple(files)) != wanted:
            if BASE not in allow:
                raise RefusedError(
                    f"the weights of {name} are not those of then",
                    hint="--allow base takes them",
                    where=path,
                    allow=[BASE],
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
