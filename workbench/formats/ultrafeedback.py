"""UltraFeedback and its children: pairs as whole dialogues with a score or rating each, or as plain texts.

Three families: HuggingFaceH4/ultrafeedback_binarized (``prompt`` a text beside ``chosen`` and ``rejected`` as whole
dialogues, ``score_chosen``), argilla's cleaned one (``chosen-rating``, ``chosen-model``) and its older one
(``chosen_response``, ``chosen_avg_rating``). Written in the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from workbench.domain.chats import Turn
from workbench.domain.examples import Example, Kind
from workbench.domain.formats import Format, Reading, Row
from workbench.errors import DataError
from workbench.formats import _turns as t

_COLUMNS = frozenset(
    {"prompt", "prompt_id", "chosen", "rejected", "messages", "instruction", "chosen_response", "rejected_response"}
    | {"chosen-model", "rejected-model", "chosen_model", "rejected_model"}
)
_MARKS = {"score_chosen", "score_rejected", "chosen-rating", "rejected-rating", "chosen-model", "rejected-model"}
_OLD_MARKS = {"chosen_avg_rating", "rejected_avg_rating", "chosen_model", "rejected_model"}


def _score(row: Row) -> int:
    there = t.present(row)
    if there >= {"chosen", "rejected"} and there & _MARKS:
        return 95
    if there >= {"chosen", "rejected", "prompt_id"}:
        return 90
    return 95 if there >= {"instruction", "chosen_response"} and there & _OLD_MARKS else 0


def _read(row: Row) -> Sequence[Reading]:
    models = tuple(str(row.get(f"{side}-model") or row.get(f"{side}_model") or "") for side in ("chosen", "rejected"))
    if "chosen_response" in row:
        prompt = (Turn(t.USER, t.text_of(row, "instruction")),)
        content = t.pair_of_texts(prompt, row["chosen_response"], row.get("rejected_response"))
    else:
        if not {"chosen", "rejected"} <= t.present(row):
            raise DataError("there is no 'chosen' and 'rejected'")
        chosen, rejected = (t.turns(row[side], side, t.ASSISTANT) for side in ("chosen", "rejected"))
        asked = row.get("prompt")
        content = t.preference(None if asked is None else t.turns(asked, "prompt", t.USER), chosen, rejected)
    return [Reading(content, models=models if all(models) else ())]


def _write(example: Example) -> dict[str, object]:
    content = example.content
    prompt = next(turn.content for turn in content.prompt if turn.role == t.USER)
    chosen, rejected = (t.dicts(content.prompt + side) for side in (content.chosen, content.rejected))
    digest = hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()
    return {"prompt": prompt, "prompt_id": digest, "chosen": chosen, "rejected": rejected, "messages": chosen}


FORMAT = Format(
    name="ultrafeedback",
    title="UltraFeedback",
    summary="prompt as text, chosen and rejected as whole dialogues, scores beside them; also argilla's two forms",
    columns=_COLUMNS,
    score=_score,
    read=_read,
    kinds=(Kind.PREFERENCE,),
    write=_write,
    lost=t.lost_in_whole_dialogues,
)
