"""What others would make of the rows that are written, and columns that a guess must not drop."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workbench import formats
from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Example, Kind, Source, SourceKind
from workbench.domain.formats import Reading, Row
from workbench.errors import DataError

ASKED = (Turn("user", "One?"),)
MIXED = (Turn("assistant", "1"), Turn("user", "Two?"), Turn("assistant", "2", '{"weight":0}'))
MIXED = (*MIXED, Turn("user", "Three?"), Turn("assistant", "3"))
UNLEARNT_BETWEEN = Content(Kind.DEMONSTRATION, ASKED, MIXED)


def written(name: str, content: Content) -> dict[str, Any]:
    write = formats.get(name).write
    assert write is not None
    return json.loads(json.dumps(write(Example(1, "d", content, Source(SourceKind.IMPORT)))))  # type: ignore[no-any-return]


def read(row: Row) -> tuple[str, list[Content]]:
    found = formats.detect([row])
    return found.name, [part.content for part in found.read(row) if isinstance(part, Reading)]


@pytest.mark.parametrize("name", ["trl", "llama_factory", "alpaca"])
def test_formats_whose_trainers_learn_every_answer_say_so_of_one_that_must_not_be(name: str) -> None:
    assert formats.get(name).lost(UNLEARNT_BETWEEN)


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [("openai", "messages", {"weight": 0}), ("axolotl", "messages", {"train": False})],
)
def test_formats_that_have_a_word_for_it_write_which_answers_are_not_learnt(
    name: str, key: str, said: dict[str, object]
) -> None:
    assert formats.get(name).lost(UNLEARNT_BETWEEN) == ""
    answers = [turn for turn in written(name, UNLEARNT_BETWEEN)[key] if turn["role"] == "assistant"]
    assert [said.items() <= answer.items() for answer in answers] == [False, True, False]


@pytest.mark.parametrize("name", ["openai", "openai_preference"])
@pytest.mark.parametrize("extra", ['{"reasoning_content":"Hm."}', '{"weight":0.5}'])
def test_openai_gets_no_key_that_it_refuses(name: str, extra: str) -> None:
    rejected = (Turn("assistant", "2"),) if name == "openai_preference" else ()
    kind = Kind.PREFERENCE if rejected else Kind.DEMONSTRATION
    content = Content(kind, ASKED, (Turn("assistant", "1", extra),), rejected)
    assert formats.get(name).lost(content)
    row = written(name, content)
    (answer,) = row["preferred_output"] if rejected else row["messages"][1:]
    assert answer == {"role": "assistant", "content": "1"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2+2?", "answer1": "4", "answer2": "5"},
        {"text": "A text.", "rejected_text": "Another."},
        {"prompt": "2+2?", "Response": ["4"]},
    ],
    ids=["Label Studio", "AutoTrain without a prompt", "a list of answers"],
)
def test_a_prompt_beside_answers_of_unknown_names_is_not_taken_alone(row: dict[str, object]) -> None:
    with pytest.raises(DataError, match="no format has such rows"):
        read(row)


def test_a_pair_of_texts_as_autotrain_has_them_is_a_pair() -> None:
    name, (content,) = read({"prompt": "2+2?", "text": "4", "rejected_text": "5"})
    assert (name, content.kind) == ("table", Kind.PREFERENCE)
    assert (content.chosen[0].content, content.rejected[0].content) == ("4", "5")


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"instruction": "Sum up.", "context": "A long text.", "response": "Short."}, "Sum up.\nA long text."),
        ({"instruction": "Sum up.", "input": "A long text.", "response": "Short."}, "Sum up.\nA long text."),
        ({"instruction": "Sum up.", "context": "", "response": "Short."}, "Sum up."),
        ({"question": "Who?", "context": None, "answer": "She."}, "Who?"),
        ({"input": "Who?", "output": "She."}, "Who?"),
    ],
)
def test_what_a_question_is_about_stays_with_it(row: dict[str, object], prompt: str) -> None:
    name, (content,) = read(row)
    assert name == "table"
    assert [turn.content for turn in content.prompt] == [prompt]
