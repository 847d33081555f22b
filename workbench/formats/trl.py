"""TRL's dataset formats, all of them: language modelling, prompt only, prompt-completion, both kinds of preference,
unpaired preference and stepwise supervision, in the standard (texts) and the conversational form (lists of turns).
A ``system`` column beside them, which TRL itself does not know, is taken as the first turn.

Written as conversational rows with an explicit prompt, which every TRL trainer takes as they are; TRL learns every
answer of a completion, whatever its weight. A text as prompt is
one user turn. Of stepwise supervision each step becomes a judgement on the answer up to and with that step.
Source: https://github.com/huggingface/trl/blob/main/docs/source/dataset_formats.md
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Example, Kind, plain_text
from workbench.domain.formats import Format, Reading, Row
from workbench.errors import DataError
from workbench.formats import _turns as t

_COLUMNS = frozenset(
    {
        "prompt",
        "completion",
        "completions",
        "chosen",
        "rejected",
        "label",
        "labels",
        "messages",
        "text",
        "tools",
        "system",
    }
)


def _score(row: Row) -> int:
    there = t.present(row)
    if there >= {"prompt", "completions", "labels"}:
        return 90
    if there >= {"chosen", "rejected"} and (_is_side(row["chosen"]) and _is_side(row["rejected"])):
        return 60
    if there >= {"prompt", "completion"} and _is_side(row["prompt"]) and _is_side(row["completion"]):
        return 60
    if t.is_messages(row.get("messages")):
        return 50
    if any(name.lower().startswith(_ANSWERING) for name in there):
        return 0
    if isinstance(row.get("text"), str) and "label" not in there:
        return 45
    return 40 if "prompt" in there and _is_side(row["prompt"]) else 0


_ANSWERS = {"completion", "completions", "chosen", "rejected", "answer", "response", "output", "answers"}
# A prompt or text beside a column of such a name is not all that there is: taken alone, the answer would be lost.
_ANSWERING = ("completion", "chosen", "rejected", "answer", "response", "output", "reply", "better", "worse")


def _is_side(value: object) -> bool:
    return isinstance(value, str) or t.is_messages(value)


def _read(row: Row) -> Sequence[Reading]:
    there, tools = t.present(row), t.tools_of(row.get("tools"))
    if there >= {"prompt", "completions"}:
        return _steps(row)
    if there >= {"chosen", "rejected"}:
        return [Reading(_pair(row, tools, "prompt" in there))]
    if there >= {"prompt", "completion"}:
        return [Reading(_answered(row, tools, "label" in there))]
    if "messages" in there:
        said = t.system_turn(row.get("system")) + _said(row["messages"], "messages", t.USER)
        return [Reading(t.demonstration(said, "messages", tools))]
    if there & _ANSWERS:
        raise DataError(_missing(there))
    if "prompt" in there and _ANSWERS & set(row):
        raise DataError("the row has a prompt, and its answer is empty")
    if "prompt" in there:
        content = Content(Kind.PROMPT, _prompt(row), (), tools=tools)
        return [Reading(t.checked(content))]
    if "text" not in there:
        raise DataError("there is neither a prompt nor an answer nor a text")
    return [Reading(plain_text(t.text_of(row, "text")))]


def _pair(row: Row, tools: str, has_prompt: bool) -> Content:
    better, worse = _side(row["chosen"], has_prompt), _side(row["rejected"], has_prompt)
    chosen, rejected = _said(better, "chosen", t.ASSISTANT), _said(worse, "rejected", t.ASSISTANT)
    if not has_prompt and isinstance(better, str):
        raise DataError("the answers are texts and there is no 'prompt': it cannot be told where the prompt ends")
    if not has_prompt:
        system = t.system_turn(row.get("system"))
        return t.preference(None, system + chosen, system + rejected, tools)
    return t.preference(_prompt(row), chosen, rejected, tools)


def _side(value: object, has_prompt: bool) -> object:
    """One answer; without a prompt beside it a transcript, as Anthropic's HH-RLHF has them, is taken apart."""
    return value if has_prompt or not isinstance(value, str) else t.transcript(value) or value


def _prompt(row: Row) -> t.Turns:
    return t.system_turn(row.get("system")) + _said(row["prompt"], "prompt", t.USER)


def _answered(row: Row, tools: str, is_judgement: bool) -> Content:
    prompt, answer = _prompt(row), _said(row["completion"], "completion", t.ASSISTANT)
    if not is_judgement:
        return t.checked(Content(Kind.DEMONSTRATION, prompt, answer, tools=tools))
    label = t.yes_or_no(row["label"], "label")
    return t.checked(Content(Kind.JUDGEMENT, prompt, answer, label=label, tools=tools))


def _steps(row: Row) -> list[Reading]:
    prompt, steps, labels = _prompt(row), row["completions"], row.get("labels")
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps) or not steps:
        raise DataError("'completions' is not a list of texts")
    if not isinstance(labels, list) or len(labels) != len(steps):
        raise DataError("'labels' needs one label for each of 'completions'")
    found = []
    for number, label in enumerate(labels, start=1):
        so_far = "\n".join(step.strip() for step in steps[:number])
        answer = (Turn(t.ASSISTANT, so_far),)
        content = Content(Kind.JUDGEMENT, prompt, answer, label=t.yes_or_no(label, "labels"))
        found.append(Reading(t.checked(content), note=f"step {number} of {len(steps)}"))
    return found


def _missing(there: set[str]) -> str:
    if there & {"completion", "completions"}:
        return "there is no 'prompt'"
    if len(there & {"chosen", "rejected"}) == 1:
        return f"there is no {'rejected' if 'chosen' in there else 'chosen'!r}"
    return "there is neither a 'completion' nor 'chosen' and 'rejected'"


def _said(value: object, name: str, role: str) -> t.Turns:
    """A column as turns. In TRL's string form the space between prompt and completion belongs to the completion; as a
    turn it is no part of the answer."""
    if isinstance(value, str) and role == t.ASSISTANT:
        value = value.removeprefix(" ")
    return t.turns(value, name, role)


def _write(example: Example) -> dict[str, object]:
    content = example.content
    tools: dict[str, object] = {"tools": t.tools_list(content)} if content.tools else {}
    prompt, chosen, rejected = map(t.dicts, (content.prompt, content.chosen, content.rejected))
    match content.kind:
        case Kind.DEMONSTRATION:
            return {"prompt": prompt, "completion": chosen} | tools
        case Kind.PREFERENCE:
            return {"prompt": prompt, "chosen": chosen, "rejected": rejected} | tools
        case Kind.JUDGEMENT:
            return {"prompt": prompt, "completion": chosen, "label": content.label} | tools
        case Kind.TEXT:
            return {"text": content.chosen[0].content}
        case Kind.PROMPT:
            return {"prompt": prompt} | tools


FORMAT = Format(
    name="trl",
    title="TRL",
    summary="TRL conversational rows, as Hugging Face trainers take them; every kind",
    columns=_COLUMNS,
    score=_score,
    read=_read,
    kinds=tuple(Kind),
    write=_write,
    lost=t.lost_weights,
)
