"""What many formats share: messages in every spelling as turns, and the cut between a prompt and what is learnt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from workbench.domain.chats import Role, Turn, canonical_json, turn_from_dict
from workbench.domain.examples import Content, Kind
from workbench.domain.formats import Row
from workbench.errors import DataError

Turns = tuple[Turn, ...]
USER, ASSISTANT, SYSTEM, TOOL = (role.value for role in (Role.USER, Role.ASSISTANT, Role.SYSTEM, Role.TOOL))
ROLES = {
    **dict.fromkeys(("human", "user"), USER),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "bot", "model", "function_call"), ASSISTANT),
    **dict.fromkeys(("system", "developer"), SYSTEM),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "ipython"), TOOL),
}
_PLAIN = (USER, ASSISTANT, SYSTEM)
_PREFERENCE = Kind.PREFERENCE  # looked up once, as every row of an import is read here
_YES, _NO = {"true", "1"}, {"false", "0"}


def present(row: Row) -> set[str]:
    """The columns that have a value; null counts as absent, as in files that mix the kinds."""
    return {name for name, value in row.items() if value is not None}


def is_messages(value: object, role: str = "role") -> bool:
    """True for a list of messages that say who speaks under ``role``."""
    return isinstance(value, list) and bool(value) and all(isinstance(m, Mapping) and role in m for m in value)


def is_message(value: object) -> bool:
    """True for one message, in either spelling."""
    return isinstance(value, Mapping) and ("role" in value or "from" in value)


def is_text(value: object) -> bool:
    """True for a text that is not empty."""
    return isinstance(value, str) and value.strip() != ""


def turns(value: object, name: str, role: str) -> Turns:
    """A column as turns: a list of messages, one message, or a text that is one turn of ``role``."""
    if type(value) is list and len(value) == 1 and type(item := value[0]) is dict and len(item) == 2:
        said, content = item.get("role"), item.get("content")  # one plain turn, as in nearly all rows
        if said in _PLAIN and type(content) is str:
            return (Turn(said, content),)
    if isinstance(value, str):
        return (Turn(role, value),)
    if type(value) is not list or not all(type(item) is dict for item in value):  # what nearly all are, quickly told
        value = [value] if isinstance(value, Mapping) else value
        if not isinstance(value, Sequence) or not all(isinstance(item, Mapping) for item in value):
            raise DataError(f"{name!r} is neither a text nor a list of turns")
    found = []
    for position, item in enumerate(value, start=1):
        said, content = item.get("role"), item.get("content")
        if len(item) == 2 and said in _PLAIN and type(content) is str:
            found.append(Turn(said, content))
            continue
        try:
            found.append(message(item))
        except DataError as error:
            raise DataError(f"in {name!r} turn {position}: {error.message}", hint=error.hint) from None
    return tuple(found)


def message(item: Mapping[str, Any]) -> Turn:
    """One message of any spelling: role/content or from/value, content as text or as typed parts."""
    role = item.get("role", item.get("from"))
    text = item.get("content") if "role" in item or "content" in item else item.get("value")
    if not isinstance(role, str) or role not in ROLES:
        raise DataError(f"{role!r} is not a role that is known", hint=f"known: {', '.join(ROLES)}")
    rest = {key: value for key, value in item.items() if key not in _SPEAKING and value is not None}
    if isinstance(text, list):
        text, typed = _from_parts(text)
        rest = typed | rest
    if role == "function_call":
        text, rest["tool_calls"] = "", _called(text)
    if (old := rest.pop("function_call", None)) is not None:
        rest["tool_calls"] = [{"type": "function", "function": old}]
    return turn_from_dict({"role": ROLES[role], "content": text} | _weighted(rest, ROLES[role]))


_SPEAKING = {"role", "content", "from", "value"}


def _from_parts(parts: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """Content as a list of typed parts: texts joined, reasoning and tool calls beside them; others are refused."""
    texts: list[str] = []
    found: dict[str, Any] = {}
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        value = part.get(kind, part.get("value")) if isinstance(kind, str) else None
        if kind in ("text", "reasoning", "thinking") and not isinstance(value, str):
            value = part.get("value", part.get("text"))
        if kind == "text" and isinstance(value, str):
            texts.append(value)
        elif kind in ("reasoning", "thinking") and isinstance(value, str):
            found["reasoning_content"] = found.get("reasoning_content", "") + value
        elif kind == "tool_call" and value is not None:
            found.setdefault("tool_calls", []).extend(_called(value))
        else:
            raise DataError(f"it has a part of type {kind!r}, and only text can be kept")
    return "".join(texts), found


def _called(value: object) -> list[dict[str, Any]]:
    """ShareGPT's function call, ``{"name", "arguments"}`` or a list of them, as JSON text or as it is."""
    try:
        calls = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise DataError("the function call is not JSON") from None
    calls = calls if isinstance(calls, list) else [calls]
    if not calls or not all(isinstance(call, Mapping) for call in calls):
        raise DataError("the function call has no name and arguments")
    return [dict(call) if "function" in call else {"type": "function", "function": dict(call)} for call in calls]


def _weighted(rest: dict[str, Any], role: str) -> dict[str, Any]:
    """``train`` (Axolotl) and ``loss_weight`` (LLaMA-Factory) as OpenAI's ``weight``, unless they say the usual."""
    if (trained := rest.pop("train", None)) is False and role == ASSISTANT:
        rest["weight"] = 0
    elif trained is not None and not isinstance(trained, bool):
        raise DataError(f"'train' is {trained!r}, not true or false")
    loss = rest.pop("loss_weight", None)
    if loss is not None and role == ASSISTANT and loss != 1:
        rest["weight"] = loss
    weight = rest.get("weight")
    if weight is not None and (isinstance(weight, bool) or not isinstance(weight, int | float)):
        raise DataError(f"'weight' is {weight!r}, not a number")
    if weight is not None and role != ASSISTANT:
        del rest["weight"]
    return rest


def extra(turn: Turn) -> dict[str, Any]:
    """The other keys of a turn."""
    found: dict[str, Any] = json.loads(turn.extra) if turn.extra else {}
    return found


def with_weight(turn: Turn, weight: int | None) -> Turn:
    """The turn with this ``weight``; None takes it away."""
    if weight is None and '"weight"' not in turn.extra:
        return turn
    keys = {key: value for key, value in extra(turn).items() if key != "weight"}
    return replace(turn, extra=canonical_json(keys if weight is None else keys | {"weight": weight}))


def demonstration(said: Turns, name: str, tools: str = "") -> Content:
    """A dialogue in which every answer is learnt from, except those with weight 0 before the first that is.

    The prompt is all before the first learnt answer after a user turn; what follows, later turns of the user and of
    tools included, is the completion.
    """
    if not said:
        raise DataError(f"{name!r} is empty")
    if said[-1].role != ASSISTANT:
        raise DataError(f"the last turn is the {said[-1].role}'s, not the assistant's")
    asked = next((at for at, turn in enumerate(said) if turn.role == USER), 0)
    start = next((at for at, turn in enumerate(said) if at >= asked and turn.is_learnt), None)
    if start is None:
        raise DataError("every answer has weight 0: there is nothing to learn")
    prompt = tuple(with_weight(turn, None) for turn in said[:start])
    return checked(Content(Kind.DEMONSTRATION, prompt, said[start:], tools=tools))


def dialogue(content: Content) -> Turns:
    """What ``demonstration`` reads as this content: the turns in order, answers in the prompt with weight 0."""
    asked = next((at for at, turn in enumerate(content.prompt) if turn.role == USER), 0)
    prompt = tuple(
        with_weight(turn, 0) if turn.role == ASSISTANT and at > asked else turn
        for at, turn in enumerate(content.prompt)
    )
    return prompt + content.chosen


def judged(said: Turns, label: bool, name: str, tools: str = "") -> Content:
    """A dialogue with a thumb: the answer is all after the last user turn."""
    prompt, answer = cut_answer(said, name)
    return checked(Content(Kind.JUDGEMENT, prompt, answer, label=label, tools=tools))


def cut_answer(said: Turns, name: str) -> tuple[Turns, Turns]:
    """The turns up to the last user turn, and those after it."""
    if not said:
        raise DataError(f"{name!r} is empty")
    end = max((at + 1 for at, turn in enumerate(said) if turn.role == USER), default=0)
    if end == len(said):
        raise DataError(f"the last turn is the {said[-1].role}'s, not the assistant's")
    return said[:end], said[end:]


def preference(prompt: Turns | None, chosen: Turns, rejected: Turns, tools: str = "") -> Content:
    """A pair; with whole dialogues in chosen and rejected the prompt is taken off, or found, at their beginning."""
    whole = is_dialogue(chosen) or is_dialogue(rejected)
    if prompt is None or whole:
        common = common_start(chosen, rejected)
        if prompt is not None and common[: len(prompt)] != prompt and not _says_the_same(prompt, common):
            raise DataError("'chosen' does not begin with the row's prompt")
        prompt = common
    if whole:
        chosen, rejected = (_after(prompt, said, name) for said, name in ((chosen, "chosen"), (rejected, "rejected")))
    return checked(Content(_PREFERENCE, prompt, chosen, rejected, None, tools))


def pair_of_texts(prompt: Turns, chosen: object, rejected: object, tools: str = "") -> Content:
    """A pair of two plain answers."""
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        raise DataError("the better and the worse answer must be two texts")
    better, worse = (Turn(ASSISTANT, chosen),), (Turn(ASSISTANT, rejected),)
    return checked(Content(Kind.PREFERENCE, prompt, better, worse, tools=tools))


def is_dialogue(said: Turns) -> bool:
    """True for turns that begin with the prompt."""
    return bool(said) and said[0].role in (USER, SYSTEM)


def common_start(chosen: Turns, rejected: Turns) -> Turns:
    """The turns with which both dialogues begin, but never the last turn of either: that is its answer."""
    pairs = zip(chosen[:-1], rejected[:-1], strict=False)
    prompt = tuple(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    while prompt and prompt[-1].role == ASSISTANT:
        prompt = prompt[:-1]
    if not prompt:
        raise DataError("'chosen' and 'rejected' do not begin with the same prompt")
    return prompt


def lost_in_whole_dialogues(content: Content) -> str:
    """What a pair loses where both answers stand as whole dialogues without a prompt of their own; "" for nothing."""
    if content.tools:
        return "the definitions of tools"
    whole = (content.prompt + content.chosen, content.prompt + content.rejected)
    return "" if common_start(*whole) == content.prompt else "where the prompt ends"


def lost_weights(content: Content) -> str:
    """What a demonstration loses where trainers learn every answer of a completion; "" for nothing."""
    is_mixed = any(turn.role == ASSISTANT and not turn.is_learnt for turn in content.chosen)
    return "that some answers are not to be learnt from" if content.kind is Kind.DEMONSTRATION and is_mixed else ""


def _says_the_same(prompt: Turns, common: Turns) -> bool:
    """A prompt given as one text beside whole dialogues: one of their user turns, usually the first or the last."""
    asked = [turn.content.strip() for turn in common if turn.role == USER]
    return len(prompt) == 1 and prompt[0].content.strip() in [*asked, "\n".join(asked)]


def _after(prompt: Turns, said: Turns, name: str) -> Turns:
    if said[: len(prompt)] != prompt:
        raise DataError(f"{name!r} does not begin with the row's prompt")
    return said[len(prompt) :]


def checked(content: Content) -> Content:
    """The content, after ``check`` found nothing wrong."""
    content.check()
    return content


_SPEAKERS = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


def transcript(text: str) -> list[dict[str, str]] | None:
    """``\\n\\nHuman: ...\\n\\nAssistant: ...`` as messages, without an empty last one; None for any other text."""
    parts = _SPEAKERS.split(text)
    if len(parts) < 3 or parts[0].strip():
        return None
    said = [
        {"role": USER if name == "Human" else ASSISTANT, "content": content.strip()}
        for name, content in zip(parts[1::2], parts[2::2], strict=True)
    ]
    return said if said[-1]["content"] else said[:-1]


def system_turn(value: object, name: str = "system") -> Turns:
    """A system column as turns; none when it is empty."""
    if value is None or value == "":
        return ()
    if not isinstance(value, str):
        raise DataError(f"{name!r} is not a text")
    return (Turn(SYSTEM, value),)


def tools_of(value: object) -> str:
    """Tool definitions, given as a list or as JSON text, in canonical form; empty when there are none."""
    if value is None:
        return ""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise DataError("'tools' is not JSON") from None
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(tool, Mapping) for tool in value):
        raise DataError("'tools' is not a list of definitions")
    return canonical_json(value)


def tools_list(content: Content) -> list[dict[str, Any]]:
    """The tool definitions of a content as objects."""
    found: list[dict[str, Any]] = json.loads(content.tools) if content.tools else []
    return found


def yes_or_no(value: object, name: str) -> bool:
    """A label as files write it: true or false, 1 or 0, or these as texts."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, str | int | float) else ""
    text = text.removesuffix(".0")
    if text in _YES or text in _NO:
        return text in _YES
    raise DataError(f"{name!r} is {value!r}, not true or false")


def dicts(said: Iterable[Turn]) -> list[dict[str, Any]]:
    """Turns as messages."""
    return [turn.as_dict() for turn in said]


def text_of(row: Row, name: str) -> str:
    """A column that must be a text; absent counts as empty."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{name!r} is not a text")
    return value


def has_extras(content: Content) -> bool:
    """True when a turn has more than a role and a content, or somebody but user, assistant and system speaks."""
    said = (*content.prompt, *content.chosen, *content.rejected)
    return bool(content.tools) or any(turn.extra or turn.role == TOOL for turn in said)
