"""FastChat (Chatbot Arena): vote lines of its server's log, and cleaned battles.

A vote for one side makes a pair, both bad makes two judgements, false, and a tie makes nothing: neither answer is the
better one. Up and down votes on a single answer are judgements. Written as cleaned battles, which FastChat's own Elo
and Bradley-Terry scripts read; the better answer is side a.
Source: https://github.com/lm-sys/FastChat/blob/main/fastchat/serve/monitor/clean_battle_data.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from workbench.domain.chats import Turn
from workbench.domain.examples import Example, Kind
from workbench.domain.formats import Format, LeftOut, Part, Reading, Row
from workbench.errors import DataError
from workbench.formats import _turns as t

_COLUMNS = frozenset(
    {"tstamp", "type", "models", "states", "state", "model", "ip", "question_id", "model_a", "model_b", "winner"}
    | {"judge", "conversation_a", "conversation_b", "turn", "language", "anony", "battle"}
)
_VOTES = {"leftvote": "a", "rightvote": "b", "tievote": "tie", "bothbad_vote": "both bad"}
_WINNERS = {"model_a": "a", "model_b": "b", "tie": "tie", "tie (bothbad)": "both bad"}


def _score(row: Row) -> int:
    there = t.present(row)
    is_battle = there >= {"winner", "conversation_a", "conversation_b"}
    return 100 if is_battle or (there >= {"tstamp", "type"} and there & {"states", "state", "models"}) else 0


def _read(row: Row) -> Sequence[Part]:
    if "winner" in row:
        verdict = _WINNERS.get(str(row["winner"]))
        sides = [t.turns(row.get(name) or (), name, t.USER) for name in ("conversation_a", "conversation_b")]
        names = [row.get("model_a"), row.get("model_b")]
    else:
        kind = row.get("type")
        if kind in ("upvote", "downvote"):
            content = t.judged(_state(row.get("state")), kind == "upvote", "state")
            model = row.get("model")
            return [Reading(content, models=(model,) if isinstance(model, str) and model else ())]
        verdict = _VOTES.get(str(kind))
        if verdict is None and isinstance(kind, str):
            return [LeftOut(f"lines of the type {kind!r}, which is no vote")]
        states, models = row.get("states"), row.get("models")
        if not isinstance(states, list) or len(states) != 2:
            raise DataError("'states' does not hold two conversations")
        sides = [_state(state) for state in states]
        names = list(models) if isinstance(models, list) and len(models) == 2 else [None, None]
    if verdict is None:
        raise DataError(f"the winner {row.get('winner')!r} is not known", hint=f"known: {', '.join(_WINNERS)}")
    return _decided(verdict, sides, [name if isinstance(name, str) else "" for name in names])


def _decided(verdict: str, sides: list[t.Turns], names: list[str]) -> list[Part]:
    if verdict == "tie":
        return [LeftOut("ties")]
    if verdict == "both bad":
        bad = [t.judged(said, False, "conversation") for said in sides]
        return [Reading(content, models=(name,) if name else ()) for content, name in zip(bad, names, strict=True)]
    if verdict == "b":
        sides, names = sides[::-1], names[::-1]
    if sides[0] == sides[1]:
        return [LeftOut("votes between equal answers")]
    return [Reading(t.preference(None, sides[0], sides[1]), models=tuple(names) if all(names) else ())]


def _state(state: object) -> t.Turns:
    if not isinstance(state, Mapping) or not isinstance(state.get("messages"), list):
        raise DataError("a state has no messages")
    roles, offset = state.get("roles"), state.get("offset")
    user = roles[0] if isinstance(roles, list | tuple) and roles else "USER"
    found = list(t.system_turn(state.get("system_message") or None, "system_message"))
    for item in state["messages"][offset if isinstance(offset, int) else 0 :]:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str):
            raise DataError("a message of a state is not [role, text]")
        if item[1] is not None and not isinstance(item[1], str):
            raise DataError("a message of a state is not text")
        if item[1] is not None:
            found.append(Turn(t.USER if item[0] == user else t.ASSISTANT, item[1]))
    return tuple(found)


def _write(example: Example) -> dict[str, object]:
    content, models = example.content, example.source.models
    model_a, model_b = models if len(models) == 2 else ("chosen", "rejected")
    return {
        "question_id": str(example.id),
        "model_a": model_a,
        "model_b": model_b,
        "winner": "model_a",
        "judge": example.rater,
        "conversation_a": t.dicts(content.prompt + content.chosen),
        "conversation_b": t.dicts(content.prompt + content.rejected),
        "turn": sum(turn.role == t.USER for turn in content.prompt),
        "tstamp": datetime.fromisoformat(example.created_utc).timestamp() if example.created_utc else 0.0,
    }


FORMAT = Format(
    name="fastchat",
    title="FastChat battles",
    summary="votes between two answers, as Chatbot Arena's server logs and publishes them",
    columns=_COLUMNS,
    score=_score,
    read=_read,
    kinds=(Kind.PREFERENCE,),
    write=_write,
    lost=t.lost_in_whole_dialogues,
)
