"""What a run's own answers are rewarded by: a registered reward model, or a Python file of the user's.

A file is read, not run: that it can be called as the trainer will call it is seen from its text before the launch.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.methods import KnobValue, Measure, Method
from workbench.domain.models import ModelKind
from workbench.errors import DataError, NotFoundError, RefusedError, UsageError

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

DEFAULT_FUNCTION = "reward"
HANDED = ("prompts", "completions", "completion_ids", "answer", "trainer_state", "log_extra", "log_metric")
"""What the trainer hands over by name; ``completions`` are lists of turns, as TRL's own reward functions take them."""
_SHAPE = f"def {DEFAULT_FUNCTION}(completions, **rest): return one number for each completion"


@dataclass(frozen=True, slots=True)
class Reward:
    """What rewards, as the run's spec says it; ``source`` is the text of a file, to be frozen beside the rows."""

    name: str = ""
    path: str = ""
    base_path: str = ""
    source: str = ""

    @property
    def sha256(self) -> str:
        """The hash of the file; empty for a model."""
        return hashlib.sha256(self.source.encode()).hexdigest() if self.source else ""


def reward_of(bench: Bench, method: Method, knobs: Mapping[str, KnobValue]) -> Reward:
    """What the run asks to be rewarded by; an empty one for a method that needs none.

    Raises ``UsageError`` when none is named, ``NotFoundError``, or ``DataError`` with the line of the file.
    """
    if method.measure is not Measure.REWARDS:
        return Reward()
    _check_groups(knobs)
    wanted = str(knobs["reward"]).strip()
    if not wanted:
        raise UsageError(
            f"{method.name} needs a reward",
            hint="--set reward=NAME of a reward model (train one with --method reward), or reward=FILE.py",
            where="reward",
        )
    file, _, function = wanted.partition(":")
    if file.endswith(".py"):
        return _from_file(Path(file).expanduser(), function or DEFAULT_FUNCTION)
    model = bench.store.models.get(wanted)
    if model.kind is not ModelKind.REWARD:
        raise RefusedError(
            f"{model.name} gives answers, not scores", hint="workbench train --method reward makes a reward model"
        )
    base = bench.store.models.get(model.base).path if model.base else ""
    return Reward(model.name, model.path, base)


def _check_groups(knobs: Mapping[str, KnobValue]) -> None:
    drawn = int(knobs["per_device_train_batch_size"]) * int(knobs["gradient_accumulation_steps"])
    each = int(knobs["num_generations"])
    if drawn % each:
        raise UsageError(
            f"a step draws {drawn} answers (per_device_train_batch_size × gradient_accumulation_steps), which is no "
            f"multiple of num_generations = {each}",
            hint=f"per_device_train_batch_size={each * max(1, drawn // each)} with gradient_accumulation_steps=1",
            where="num_generations",
        )


def _from_file(path: Path, function: str) -> Reward:
    try:
        source = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}", hint=_SHAPE, where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} cannot be read: {error}", where=str(path)) from None
    try:
        tree = ast.parse(source, filename=str(path))
    except SyntaxError as error:
        raise DataError(f"{path.name} is no Python: {error.msg}", where=f"{path}:{error.lineno}") from None
    _check_function(tree, path, function)
    return Reward(function, str(path.resolve()), source=source)


def _check_function(tree: ast.Module, path: Path, name: str) -> None:
    there = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if name not in there:
        known = ", ".join(there) or "none"
        raise DataError(
            f"{path.name} has no function {name}", hint=f"functions there: {known}; {_SHAPE}", where=str(path)
        )
    found = there[name]
    where = f"{path}:{found.lineno}"
    if isinstance(found, ast.AsyncFunctionDef):
        raise DataError(f"{name} is an async function", hint="make it a plain one", where=where)
    arguments = found.args
    if arguments.kwarg is None:
        raise DataError(f"{name} does not take **rest", hint=f"the trainer hands over {', '.join(HANDED)}", where=where)
    if arguments.posonlyargs:
        raise DataError(f"{name} takes {arguments.posonlyargs[0].arg} by place only", hint=_SHAPE, where=where)
    needed = arguments.args[: len(arguments.args) - len(arguments.defaults)]
    needed += [a for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None]
    for argument in needed:
        if argument.arg not in HANDED:
            raise DataError(
                f"{name} needs {argument.arg}, which the trainer does not have",
                hint=f"it hands over {', '.join(HANDED)}; give {argument.arg} a default",
                where=where,
            )
