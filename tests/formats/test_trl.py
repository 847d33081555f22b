from __future__ import annotations

import pytest

from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Kind
from workbench.domain.formats import Reading, Row
from workbench.errors import DataError
from workbench.formats.trl import FORMAT

USER = {"role": "user", "content": "What color is the sky?"}
BLUE = {"role": "assistant", "content": "It is blue."}
GREEN = {"role": "assistant", "content": "It is green."}
SYSTEM = {"role": "system", "content": "Be brief."}
MORE = {"role": "user", "content": "And at night?"}
BLACK = {"role": "assistant", "content": "It is black."}
S, U, B, G, M, K = (Turn(t["role"], t["content"]) for t in (SYSTEM, USER, BLUE, GREEN, MORE, BLACK))
SKY, ITS_BLUE, ITS_GREEN = Turn("user", "The sky is"), Turn("assistant", "blue."), Turn("assistant", "green.")


def read(row: Row) -> Content:
    (part,) = FORMAT.read(row)
    assert isinstance(part, Reading)
    return part.content


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # The rows of the table in TRL's documentation.
        ({"messages": [USER, BLUE]}, Content(Kind.DEMONSTRATION, (U,), (B,))),
        ({"prompt": "The sky is", "completion": " blue."}, Content(Kind.DEMONSTRATION, (SKY,), (ITS_BLUE,))),
        ({"prompt": [USER], "completion": [BLUE]}, Content(Kind.DEMONSTRATION, (U,), (B,))),
        (
            {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
            Content(Kind.PREFERENCE, (SKY,), (ITS_BLUE,), (ITS_GREEN,)),
        ),
        ({"prompt": [USER], "chosen": [BLUE], "rejected": [GREEN]}, Content(Kind.PREFERENCE, (U,), (B,), (G,))),
        ({"chosen": [USER, BLUE], "rejected": [USER, GREEN]}, Content(Kind.PREFERENCE, (U,), (B,), (G,))),
        (
            {"prompt": "The sky is", "completion": " blue.", "label": True},
            Content(Kind.JUDGEMENT, (SKY,), (ITS_BLUE,), label=True),
        ),
        ({"prompt": [USER], "completion": [GREEN], "label": False}, Content(Kind.JUDGEMENT, (U,), (G,), label=False)),
        # Every answer of a dialogue is learnt from: the completion begins with the first; in a pair only the last is.
        (
            {"messages": [SYSTEM, USER, BLUE, MORE, BLACK]},
            Content(Kind.DEMONSTRATION, (S, U), (B, M, K)),
        ),
        (
            {"chosen": [SYSTEM, USER, BLUE, MORE, BLACK], "rejected": [SYSTEM, USER, BLUE, MORE, GREEN]},
            Content(Kind.PREFERENCE, (S, U, B, M), (K,), (G,)),
        ),
        # The dialogues part at an earlier answer: what follows is part of each.
        (
            {"chosen": [USER, BLUE, MORE, BLACK], "rejected": [USER, GREEN]},
            Content(Kind.PREFERENCE, (U,), (B, M, K), (G,)),
        ),
        # They part at a user turn: a prompt ends with a user turn, so the answer before belongs to both.
        (
            {"chosen": [USER, BLUE, MORE, BLACK], "rejected": [USER, BLUE, USER, GREEN]},
            Content(Kind.PREFERENCE, (U,), (B, M, K), (B, U, G)),
        ),
        # UltraFeedback: the prompt as text, and again in both dialogues.
        (
            {"prompt": USER["content"], "chosen": [USER, BLUE], "rejected": [USER, GREEN]},
            Content(Kind.PREFERENCE, (U,), (B,), (G,)),
        ),
        # A file that mixes kinds has the other kinds' columns as null.
        (
            {"prompt": [USER], "completion": [BLUE], "chosen": None, "rejected": None, "label": None, "tools": []},
            Content(Kind.DEMONSTRATION, (U,), (B,)),
        ),
        ({"messages": [USER, BLUE], "score": 7}, Content(Kind.DEMONSTRATION, (U,), (B,))),
        ({"text": "The sky is blue."}, Content(Kind.TEXT, (), (Turn("text", "The sky is blue."),))),
        ({"prompt": "The sky is"}, Content(Kind.PROMPT, (SKY,), ())),
        ({"prompt": [USER], "text": "q a"}, Content(Kind.PROMPT, (U,), ())),
    ],
)  # fmt: skip
def test_a_row_is_read_as(row: dict[str, object], expected: Content) -> None:
    assert FORMAT.score(row)
    assert read(row) == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [USER]}, "last turn is the user's"),
        ({"messages": []}, "empty"),
        ({"messages": [BLUE]}, "prompt is empty"),
        ({"messages": [SYSTEM, BLUE]}, "no user turn"),
        ({"messages": [USER, SYSTEM, BLUE]}, "system turn may only come first"),
        ({"messages": [USER, {"role": "assistant", "content": "  "}]}, "answer is empty"),
        ({"messages": [USER, {"role": "assistant"}]}, "turn 2: a turn needs"),
        ({"messages": [USER, {"role": "assistant", "content": 5}]}, "turn 2: a turn needs"),
        ({"messages": [{"from": "human"}, BLUE]}, "turn 1: a turn needs"),
        ({"messages": [{"role": "martian", "content": "hi"}, BLUE]}, "'martian' is not a role"),
        ({"messages": "hi"}, "last turn is the user's"),
        ({"messages": [USER, "hi"]}, "neither a text nor a list of turns"),
        ({"messages": 5}, "neither a text nor a list of turns"),
        ({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [{}]}, BLUE]}, "no function name"),
        ({"messages": [USER, BLUE], "tools": "{"}, "'tools' is not JSON"),
        ({"messages": [USER, BLUE], "tools": ["weather"]}, "'tools' is not a list"),
        ({"prompt": "q", "completion": ""}, "completion answer is empty"),
        ({"prompt": " ", "completion": "a"}, "prompt is empty text"),
        ({"prompt": [USER, BLUE], "completion": [BLUE]}, "prompt ends with an assistant turn"),
        ({"prompt": [USER], "completion": [USER, BLUE]}, "begins with a user turn"),
        ({"prompt": [USER], "completion": [BLUE, USER]}, "does not end with an assistant turn"),
        ({"prompt": "q", "completion": "a", "label": 2}, "'label' is 2"),
        ({"prompt": "q", "completion": "a", "label": "up"}, "'label' is 'up'"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "the same"),
        ({"prompt": "q", "chosen": "a"}, "no 'rejected'"),
        ({"rejected": "a"}, "no 'chosen'"),
        ({"chosen": "q a", "rejected": "q b"}, "cannot be told where the prompt ends"),
        ({"chosen": [USER, BLUE], "rejected": [MORE, GREEN]}, "same prompt"),
        ({"chosen": [USER, BLUE], "rejected": [USER, BLUE]}, "the same"),
        ({"chosen": [BLUE], "rejected": [GREEN]}, "same prompt"),
        (
            {"prompt": "other", "chosen": [USER, BLUE], "rejected": [USER, GREEN]},
            "does not begin with the row's prompt",
        ),
        ({"completion": "a"}, "no 'prompt'"),
        ({"text": " "}, "text is empty"),
        ({"text": 5}, "'text' is not a text"),
        ({}, "neither a prompt nor an answer"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_refused_with_the_reason(row: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=reason.replace("'", ".")):
        read(row)


def test_only_one_space_between_prompt_and_completion_is_taken_off() -> None:
    content = read({"prompt": " q", "completion": "   indented"})
    assert (content.prompt[0].content, content.chosen[0].content) == (" q", "  indented")
    turns = read({"prompt": [USER], "completion": [{"role": "assistant", "content": " a"}]})
    assert turns.chosen[0].content == " a"


def test_each_step_of_stepwise_supervision_is_judged_with_the_steps_before_it() -> None:
    row = {"prompt": "9.8 or 9.11?", "completions": ["0.8 vs 0.11.", " So 9.11."], "labels": [True, False]}
    first, second = FORMAT.read(row)
    assert isinstance(first, Reading) and isinstance(second, Reading)
    assert (first.content.chosen[0].content, first.content.label) == ("0.8 vs 0.11.", True)
    assert (second.content.chosen[0].content, second.content.label) == ("0.8 vs 0.11.\nSo 9.11.", False)
    assert second.note == "step 2 of 2"
    with pytest.raises(DataError, match="one label for each"):
        FORMAT.read(row | {"labels": [True]})


def test_transcripts_of_human_and_assistant_are_taken_apart() -> None:
    asked = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: And now?\n\nAssistant:"
    content = read({"chosen": f"{asked} This.", "rejected": f"{asked} That."})
    assert [turn.content for turn in content.prompt] == ["Hi", "Hello.", "And now?"]
    assert (content.chosen[0].content, content.rejected[0].content) == ("This.", "That.")


def test_a_system_column_is_the_first_turn() -> None:
    assert read({"system": "Be brief.", "prompt": [USER], "completion": [BLUE]}).prompt == (S, U)
