"""Whom a run is to learn from: a registered model that gives a probability for every token of the same vocabulary.

Compares the two tokenizers by their files; loads no model. The trainer looks once more at what it has loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.domain.methods import KnobValue, Measure, Method
from workbench.domain.models import Model, ModelKind
from workbench.errors import NotFoundError, RefusedError, UsageError
from workbench.flows import registry

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.flows.start import Start

_VIA_ANSWERS = "let it answer your prompts (workbench batch), keep the answers, and train sft on them"


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher as the run's spec says it, and what is worth knowing of it before the run; empty for no teacher."""

    name: str = ""
    path: str = ""
    base_path: str = ""
    findings: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)


def teacher_of(bench: Bench, method: Method, knobs: Mapping[str, KnobValue], start: Start) -> Teacher:
    """The teacher that the run asks for; an empty one for a method that needs none.

    Raises ``UsageError`` when none is named, ``NotFoundError``, or ``RefusedError`` for one that cannot teach here.
    """
    if method.measure is not Measure.TEACHER:
        return Teacher()
    wanted = str(knobs["teacher"]).strip()
    if not wanted:
        raise UsageError(
            f"{method.name} needs a teacher",
            hint="--set teacher=NAME of a model that answers better: workbench models list",
            where="teacher",
        )
    model = bench.store.models.get(wanted)
    _check_kind(model, start.model)
    base = bench.store.models.get(model.base) if model.kind is ModelKind.ADAPTER else model
    _check_is_there(model, base)
    _check_vocabulary(model, Path(base.path), start.model.name, Path(start.seen.path))
    findings = tuple(_findings(model, base, start))
    hashes = {"teacher_sha256": model.sha256}
    if base is model:
        return Teacher(model.name, model.path, "", findings, hashes)
    return Teacher(model.name, model.path, base.path, findings, {**hashes, "teacher_base_sha256": base.sha256})


def _check_kind(teacher: Model, student: Model) -> None:
    if teacher.kind is ModelKind.ENDPOINT:
        reason = f"{teacher.name} is on a server, which does not tell how likely every token of the vocabulary is"
        raise RefusedError(reason, hint=_VIA_ANSWERS, where="teacher")
    if teacher.kind is ModelKind.REWARD:
        hint = f"--method rloo --set reward={teacher.name} learns from its scores"
        raise RefusedError(f"{teacher.name} gives scores, not answers", hint=hint, where="teacher")
    if teacher.name == student.name:
        hint = "name another teacher, or start from another --model"
        raise RefusedError(f"{teacher.name} would be its own teacher", hint=hint, where="teacher")


def _check_is_there(model: Model, base: Model) -> None:
    for one in (model, base):
        if not registry.is_hub_id(one.path) and not Path(one.path).is_dir():
            raise NotFoundError(
                f"{one.name} is not in {one.path} any more", hint="put it back, or name another teacher", where=one.path
            )
    if "num_virtual_tokens" in registry.adapter_config(model):
        raise RefusedError(
            f"{model.name} is a learnt prompt, which changes no weights: what {base.name} finds likely after it is "
            "not seen by a run",
            hint=_VIA_ANSWERS,
            where="teacher",
        )


def _check_vocabulary(model: Model, teacher: Path, student_name: str, student: Path) -> None:
    known, own = vocabulary(teacher), vocabulary(student)
    if known is not None and own is not None and known != own:
        raise RefusedError(
            f"{model.name} and {student_name} have different tokens, so that what one finds likely says nothing of "
            "the other's",
            hint=f"a teacher of the same family; or {_VIA_ANSWERS}",
            where="teacher",
        )
    entries = [_json(folder / "config.json") for folder in (teacher, student)]
    sizes = [(facts.get("text_config") or facts).get("vocab_size") for facts in entries]
    if None not in sizes and sizes[0] != sizes[1]:
        raise RefusedError(
            f"the head of {model.name} has {sizes[0]:,} entries, that of {student_name} {sizes[1]:,}: they cannot be "
            "compared one by one",
            hint=f"a teacher with as many; or {_VIA_ANSWERS}",
            where="teacher",
        )


def _findings(model: Model, base: Model, start: Start) -> Iterator[str]:
    templates = [_template(Path(model.path)) or _template(Path(base.path)), _template(Path(start.seen.path))]
    if all(templates) and templates[0] != templates[1]:
        yield f"{model.name} has another chat template: it reads the prompts as {start.model.name}'s writes them"
    ends, own = _ends(Path(base.path)), _ends(Path(start.seen.path))
    if own and (others := {number: name for number, name in ends.items() if number not in own}):
        named = ", ".join(others.values())
        yield (
            f"{model.name} ends answers with {named} too, behind which {start.model.name} goes on: "
            "add it to eos_token_id in generation_config.json of the learner"
        )


def _ends(folder: Path) -> dict[int, str]:
    """The tokens that end an answer, by number: those of the model's generation, and the tokenizer's own."""
    told = (_json(folder / name).get("eos_token_id") for name in ("generation_config.json", "config.json"))
    listed: Any = next((one for one in told if one is not None), [])
    names = {one.get("id"): str(one.get("content")) for one in _json(folder / "tokenizer.json").get("added_tokens", ())}
    own = _json(folder / "tokenizer_config.json").get("eos_token")
    own = own.get("content") if isinstance(own, dict) else own
    numbers = [*(listed if isinstance(listed, list) else [listed]), *(i for i, name in names.items() if name == own)]
    return {number: names.get(number, str(number)) for number in numbers}


def vocabulary(folder: Path) -> int | None:
    """A hash of which token has which number, from ``tokenizer.json``; None where there is no such file."""
    path = folder / "tokenizer.json"
    try:
        facts = path.stat()
    except OSError:
        return None
    return _vocabulary(str(path), facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=32)
def _vocabulary(path: str, changed_ns: int, size: int) -> int | None:
    """A large one takes a tenth of a second to read, and a form asks at every key."""
    told = _json(Path(path))
    listed = told.get("model", {}).get("vocab")
    if isinstance(listed, list):  # Unigram: pairs of a token and its score
        listed = {pair[0]: number for number, pair in enumerate(listed)}
    if not isinstance(listed, dict):
        return None
    added = {one.get("content"): one.get("id") for one in told.get("added_tokens", ())}
    return hash(frozenset({**listed, **added}.items()))


def _template(folder: Path) -> str:
    alone = folder / "chat_template.jinja"
    if alone.is_file():
        return alone.read_text(encoding="utf-8", errors="replace")
    return str(_json(folder / "tokenizer_config.json").get("chat_template") or "")


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
