"""TRL's dataset formats: prompt-completion, ``messages``, preference, unpaired preference, text and prompt alone.

Written as conversational rows with an explicit prompt, which every TRL trainer takes as they are. Read in that form,
with ``messages``, with the prompt implicit in both dialogues, and with plain strings, where a prompt is one user turn.
Source: https://github.com/huggingface/trl/blob/main/docs/source/dataset_formats.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from workbench.domain.chats import Role, Turn, canonical_json, turns_from_dicts
from workbench.domain.examples import TEXT_ROLE, Content, Kind
from workbench.domain.formats import Format, Row
from workbench.errors import DataError

Turns = tuple[Turn, ...]
_ANSWERS = {"completion", "chosen", "rejected"}
_COLUMNS = frozenset({"prompt", "completion", "chosen", "rejected", "label", "messages", "text", "tools"})


def _fits(row: Row) -> bool:
    return bool({"messages", "completion", "chosen", "prompt", "text"} & _present(row))


def _read(row: Row) -> Content:
    """The content of a row; a column that is null counts as absent, as in files that mix the kinds."""
    present = _present(row)
    if present >= {"chosen", "rejected"}:
        content = _preference(row, "prompt" in present)
    elif present >= {"prompt", "completion"}:
        content = _answered(row, "label" in present)
    elif "messages" in present:
        content = _messages(_turns(row["messages"], "messages", Role.USER))
    elif present & _ANSWERS:
        raise DataError(_missing(present))
    else:
        content = _unanswered(row, present)
    content = replace(content, tools=_tools(row.get("tools")))
    content.check()
    return content


def _write(content: Content) -> dict[str, object]:
    return _columns(content) | ({"tools": content.tools} if content.tools else {})


def _columns(content: Content) -> dict[str, object]:
    parts = (content.prompt, content.chosen, content.rejected)
    prompt, chosen, rejected = ([turn.as_dict() for turn in turns] for turns in parts)
    match content.kind:
        case Kind.DEMONSTRATION:
            return {"prompt": prompt, "completion": chosen}
        case Kind.PREFERENCE:
            return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
        case Kind.JUDGEMENT:
            return {"prompt": prompt, "completion": chosen, "label": content.label}
        case Kind.TEXT:
            return {"text": content.chosen[0].content}
        case Kind.PROMPT:
            return {"prompt": prompt}


def _present(row: Row) -> set[str]:
    return {name for name, value in row.items() if value is not None}


def _missing(present: set[str]) -> str:
    if "completion" in present:
        return "there is no 'prompt'"
    return f"there is no {'rejected' if 'chosen' in present else 'chosen'!r}"


def _unanswered(row: Row, present: set[str]) -> Content:
    """A prompt alone, or a text without roles."""
    if "prompt" in present:
        return Content(Kind.PROMPT, _turns(row["prompt"], "prompt", Role.USER), ())
    if "text" not in present:
        columns = ", ".join(sorted(map(repr, present))[:8]) or "none"
        raise DataError(f"there is neither a prompt nor an answer nor a text (columns: {columns})")
    if not isinstance(row["text"], str):
        raise DataError("'text' is not a text")
    return Content(Kind.TEXT, (), (Turn(TEXT_ROLE, row["text"]),))


def _tools(value: object) -> str:
    """The tools that a model is offered, as canonical JSON: TRL has them as a list, or as the JSON text of one."""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            raise DataError("'tools' is not JSON") from None
    if not value:
        return ""
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise DataError("'tools' is not a list of tools")
    return canonical_json(value)


def _messages(turns: Turns) -> Content:
    """A dialogue: its last turn is the answer, all before it the prompt, earlier answers included."""
    if not turns:
        raise DataError("'messages' is empty")
    if turns[-1].role != Role.ASSISTANT.value:
        raise DataError(f"the last turn is the {turns[-1].role}'s, not the assistant's")
    return Content(Kind.DEMONSTRATION, turns[:-1], turns[-1:])


def _answered(row: Row, is_judgement: bool) -> Content:
    prompt = _turns(row["prompt"], "prompt", Role.USER)
    completion = _turns(row["completion"], "completion", Role.ASSISTANT)
    if not is_judgement:
        return Content(Kind.DEMONSTRATION, prompt, completion)
    label = row["label"]
    if not isinstance(label, bool):
        raise DataError(f"'label' is {label!r}, not true or false")
    return Content(Kind.JUDGEMENT, prompt, completion, label=label)


def _preference(row: Row, has_prompt: bool) -> Content:
    chosen, rejected = (_turns(row[name], name, Role.ASSISTANT) for name in ("chosen", "rejected"))
    if not has_prompt and isinstance(row["chosen"], str):
        raise DataError("the answers are texts and there is no 'prompt': it cannot be told where the prompt ends")
    prompt = _turns(row["prompt"], "prompt", Role.USER) if has_prompt else _common(chosen, rejected)
    if _whole_dialogue(chosen) or _whole_dialogue(rejected) or not has_prompt:
        chosen, rejected = (_after(prompt, turns, name) for turns, name in ((chosen, "chosen"), (rejected, "rejected")))
    return Content(Kind.PREFERENCE, prompt, chosen, rejected)


def _common(chosen: Turns, rejected: Turns) -> Turns:
    """The turns with which both dialogues begin, but never the last turn of either: that is its answer."""
    pairs = zip(chosen[:-1], rejected[:-1], strict=False)
    prompt = tuple(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    while prompt and prompt[-1].role == Role.ASSISTANT.value:
        prompt = prompt[:-1]
    if not prompt:
        raise DataError("'chosen' and 'rejected' do not begin with the same prompt")
    return prompt


def _whole_dialogue(turns: Turns) -> bool:
    return bool(turns) and turns[0].role in {Role.USER.value, Role.SYSTEM.value}


def _after(prompt: Turns, turns: Turns, name: str) -> Turns:
    if turns[: len(prompt)] != prompt:
        raise DataError(f"{name!r} does not begin with the row's prompt")
    return turns[len(prompt) :]


def _turns(value: object, name: str, role: Role) -> Turns:
    """A column as turns: a list of them, or a text that is one turn of ``role``.

    In TRL's string form the space between prompt and completion belongs to the completion; as a turn it is no part of
    the answer.
    """
    if isinstance(value, str):
        return (Turn(role.value, value.removeprefix(" ") if role is Role.ASSISTANT else value),)
    if not isinstance(value, Sequence) or not all(isinstance(turn, Mapping) for turn in value):
        raise DataError(f"{name!r} is neither a text nor a list of turns")
    try:
        return turns_from_dicts(value)
    except DataError as error:
        raise DataError(f"in {name!r} {error.message}", hint=error.hint) from None


FORMAT = Format(
    name="trl",
    title="TRL",
    summary="TRL conversational JSONL, as Hugging Face trainers take it",
    kinds=tuple(Kind),
    columns=_COLUMNS,
    fits=_fits,
    read=_read,
    write=_write,
)
