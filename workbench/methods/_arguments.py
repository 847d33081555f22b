"""Every argument of a trainer's config beside the knobs: which there are, and what a typed value means for each.

The names come from the text of the installed libraries, which are read and not imported: that would take seconds. A
config's fields are the annotated names in its class and in the classes that it is made from.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from workbench.domain.methods import Knob, KnobGroup, KnobValue, Method, nearest
from workbench.errors import UsageError

KNOB = "arguments"
_FILES = (("trl", "**/*_config.py"), ("transformers", "training_args.py"))
_OURS = {
    "output_dir", "bf16", "fp16", "use_cpu", "dataloader_pin_memory", "eval_strategy", "save_strategy",
    "save_total_limit", "report_to", "disable_tqdm", "logging_nan_inf_filter", "push_to_hub", "resume_from_checkpoint",
    "do_train", "do_eval", "do_predict", "run_name", "auto_find_batch_size", "eval_delay", "eval_on_start",
    "metric_for_best_model", "greater_is_better", "prediction_loss_only", "per_device_eval_batch_size",
    "eval_accumulation_steps", "batch_eval_metrics", "save_only_model",
}  # fmt: skip
_UNSAFE = {"trust_remote_code", "model_init_kwargs", "ref_model_init_kwargs", "teacher_model_init_kwargs"}


def with_arguments(method: Method, given: Mapping[str, str]) -> dict[str, str]:
    """``given`` with the names that are no knobs gathered in the knob ``arguments``.

    Raises ``UsageError`` for a name that neither the method nor its trainer's config has, with the nearest one.
    """
    knobs = {knob.name for knob in method.knobs}
    kept = {name: text for name, text in given.items() if name in knobs}
    more = {name: text for name, text in given.items() if name not in knobs}
    words = shlex.split(kept[KNOB]) if KNOB in kept else []
    words += [f"{name}={text}" for name, text in more.items()]
    if not words:
        return kept
    text = shlex.join(words)
    values(method, text)
    return kept | {KNOB: text}


def values(method: Method, text: str) -> dict[str, Any]:
    """The arguments in ``text`` (words ``name=value``, quoted as in a shell); raises ``UsageError`` for another."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{KNOB} = {text!r} cannot be read: {error}", where=KNOB) from None
    return dict(_value(method, word) for word in words)


def setting(method: Method, name: str) -> Knob:
    """The knob of this name, or the argument of the trainer's config as one; raises ``UsageError`` for another."""
    if name in {knob.name for knob in method.knobs}:
        return method.knob(name)
    _refuse(method, name)
    annotation = fields(method.config)[name]
    own = f"an argument of {method.config.partition(':')[2]}: {annotation}"
    return _Argument(name, _example(annotation), own, KnobGroup.SAVING, annotation=annotation)


def setting_text(knobs: Mapping[str, KnobValue], name: str) -> str:
    """What a run has for a knob or an argument, as a text; "" for an argument that it was not given."""
    if name in knobs:
        return str(knobs[name])
    words = (word.partition("=") for word in shlex.split(str(knobs.get(KNOB, ""))))
    return next((text for key, _, text in reversed(list(words)) if key == name), "")


def without(text: str, names: Collection[str]) -> str:
    """The arguments in ``text`` but for those of these names."""
    return shlex.join(word for word in shlex.split(text) if word.partition("=")[0] not in names)


@dataclass(frozen=True, slots=True)
class _Argument(Knob):
    """An argument that is no knob; its default only tells what kind of value it takes."""

    annotation: str = ""

    def _convert(self, text: str) -> KnobValue:
        value = _parsed(self.name, text, self.annotation)
        return value if isinstance(value, int | float | bool | str) else text

    def _takes(self) -> str:
        return self.annotation


def _example(annotation: str) -> KnobValue:
    """A value of the kind that numbers of a range are: whole, not whole, or none."""
    kinds = annotation.replace("|", " ").replace("[", " ").replace("]", " ").split()
    if "bool" in kinds or not {"int", "float"} & {*kinds}:
        return ""
    return 0.0 if "float" in kinds else 0


def _value(method: Method, word: str) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals:
        raise UsageError(f"{word!r} is not name=value", hint="for example optim=adafactor", where=KNOB)
    _refuse(method, name)
    return name, _parsed(name, text.strip(), fields(method.config)[name])


def _refuse(method: Method, name: str) -> None:
    knobs = [knob.name for knob in method.knobs]
    there = fields(method.config)
    if name in knobs:
        raise UsageError(f"{name} is a setting of its own", hint=f"--set {name}=VALUE", where=KNOB)
    if name in method.lacks:
        reason, instead = method.lacks[name]
        raise UsageError(f"{method.name} has no {name}: {reason}", hint=instead, where=name)
    if name in _OURS or name in method.fixed:
        raise UsageError(f"{name} is set by the workbench itself", hint=f"a run of {method.name} needs it as it is")
    if name in _UNSAFE:
        raise UsageError(f"{name} is not handed on", hint="code that comes with a model is never run")
    if name not in there:
        known = sorted({*knobs, *there} - _OURS - _UNSAFE)
        close = nearest(name, known)
        hint = close if close.startswith("did you mean") else f"its own are {', '.join(knobs)}"
        raise UsageError(
            f"{method.name} has no setting {name!r}, and neither has {method.config}", hint=hint, where=name
        )


@cache
def fields(reference: str) -> Mapping[str, str]:
    """The fields of a config class (``"module:Class"``) with their annotations, its own before those it inherits."""
    return dict(reversed(list(_fields(reference.partition(":")[2]))))


def _fields(name: str) -> Iterator[tuple[str, str]]:
    if (found := _class(name)) is None:
        return
    for statement in found.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, ast.unparse(statement.annotation)
    for base in found.bases:
        if isinstance(base, ast.Name):
            yield from _fields(base.id)


def _class(name: str) -> ast.ClassDef | None:
    for path in _sources():
        text = path.read_text(encoding="utf-8")
        if f"class {name}" in text:
            for node in ast.parse(text).body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    return node
    return None


def _sources() -> Iterator[Path]:
    for package, pattern in _FILES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield from sorted(Path(folder).glob(pattern))


def _parsed(name: str, text: str, annotation: str) -> KnobValue | list[Any] | dict[str, Any] | None:
    if text.lower() in {"none", "null"} and "None" in annotation:
        return None
    if text[:1] in {"[", "{"} and ("list" in annotation or "dict" in annotation):
        try:
            found: list[Any] | dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{name} = {text!r} is no JSON: {error}", where=name) from None
        return found
    if "bool" in annotation and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind, convert in (("int", int), ("float", float)):
        if kind in annotation:
            try:
                return convert(text)
            except ValueError:
                continue
    if "str" in annotation or not {"bool", "int", "float"} & set(annotation.replace("|", " ").split()):
        return text
    raise UsageError(f"{name} takes {annotation}, not {text!r}", where=name)
