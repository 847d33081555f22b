"""Tables of turns: which ones say nothing, stand in a wrong order, end wrongly, or are no pair; and near misses."""

from __future__ import annotations

import pytest

from checking import USER, call, demo, having, of_row, pair, raw, said, talk, told, user
from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Kind

SYSTEM = Turn("system", "Be brief.")
THOUGHT = "<think>The user asks for tea.</think>"


def prompt_alone(*turns: Turn) -> Content:
    return Content(Kind.PROMPT, turns, ())


def both(chosen: tuple[Turn, ...], rejected: tuple[Turn, ...], prompt: tuple[Turn, ...] = (USER,)) -> Content:
    return Content(Kind.PREFERENCE, prompt, chosen, rejected)


EMPTY = {
    "nothing": demo(""),
    "blanks": demo(" \t\r\n "),
    "a space that does not break": demo("\u00a0\u202f\u3000"),
    "zero width and byte order": demo("\u200b\ufeff\u2060"),
    "marks of direction": demo("\u200e\u200f\u202a\u202c"),
    "a filler of Hangul": demo("\u3164"),
    "a blank of Braille": demo("\u2800\u2800"),
    "a variation selector alone": demo("\ufe0f"),
    "control characters": demo("\x00\x07"),
    "line separators": demo("\u2028\u2029"),
    "an empty question": demo("Sencha.", "  "),
    "an empty question between": talk(user(), said(), user("\n"), said()),
    "an empty answer between": talk(user(), said(""), user(), said(), answer=3),
    "only a weight": talk(user(), having(said(""), weight=1)),
    "only a name": talk(user(), having(said(" "), name="Ann")),
    "an empty list of calls": talk(user(), having(said(""), tool_calls=[])),
    "an empty rejected answer": pair("Sencha.", ""),
    "an empty text": raw(" \n"),
    "reasoning and nothing more": demo(f"{THOUGHT}\n"),
    "reasoning cut off": demo("<think>The user asks for"),
    "no prompt": Content(Kind.DEMONSTRATION, (), (said(),)),
    "no answer": Content(Kind.DEMONSTRATION, (USER,), ()),
    "no rejected answer": Content(Kind.PREFERENCE, (USER,), (said(),), ()),
}
NOT_EMPTY = {
    "zero": demo("0"),
    "a full stop": demo("."),
    "an emoji": demo("👍🏽"),
    "a flag of tags": demo("\U0001f3f4\U000e0067\U000e0062\U000e007f"),
    "one character": demo("茶"),
    "Arabic with joiners": demo("می\u200cخواهم"),
    "a call without words": talk(user(), call("brew")),
    "a refusal without words": talk(user(), having(said(""), refusal="No.")),
    "a tool that answers nothing": talk(user(), call("brew"), told(""), said()),
    "an empty system turn": talk(Turn("system", ""), user(), said()),
    "a prompt alone": prompt_alone(user()),
    "reasoning and an answer": demo(f"{THOUGHT}\nSencha."),
    "a lesson on tags": demo("<think> opens the reasoning, </think> closes it, and the answer follows."),
    "reasoning before a call": talk(user(), Turn("assistant", THOUGHT, call("brew").extra)),
    "a text": raw("茶"),
    "combining marks": demo("é"),
}

ORDER = {
    "system in the middle": (talk(user(), SYSTEM, user(), said()), "error", "system turn"),
    "two system turns": (talk(SYSTEM, SYSTEM, user(), said()), "error", "system turn"),
    "a system turn in the answer": (both((said(), SYSTEM, said()), (said("No"),)), "error", "system turn"),
    "an unknown role": (talk(Turn("human", "Hi"), said()), "error", "'human' is not a role"),
    "a role with a capital": (talk(Turn("User", "Hi"), said()), "error", "'User' is not a role"),
    "a function of old": (talk(user(), call("brew"), Turn("function", "4"), said()), "error", "'function'"),
    "a tool first": (talk(told("4"), user(), said()), "error", "nothing called"),
    "a tool after the user": (talk(user(), told("4"), said()), "error", "nothing called"),
    "a tool after plain words": (talk(user(), said("Wait."), told("4"), said()), "warning", "nothing called"),
    "another call's answer": (
        talk(user(), call("brew", call_id="a1"), told("4", call_id="b2"), said()),
        "warning",
        "'b2', which was not called",
    ),
    "a call without an answer": (talk(user(), call("brew"), user("And?"), said()), "warning", "never answered"),
    "a tool's answer unused": (talk(user(), call("brew"), told("4"), user(), said()), "warning", "nobody has used"),
    "two users": (talk(user(), user(), said()), "warning", "two user turns"),
    "two assistants": (talk(user(), said(), said(), answer=2), "warning", "two assistant turns"),
    "the assistant first": (talk(said("Hello!"), user(), said()), "warning", "before anybody"),
    "nobody asks": (talk(SYSTEM, said()), "error", "no user turn"),
    "a pair that parts later": (both((said(), user(), user(), said()), (said("No"),)), "warning", "two user turns"),
    "only in the rejected": (both((said(),), (said(), said("No"))), "warning", "two assistant turns"),
}
IN_ORDER = {
    "one and one": talk(user(), said()),
    "with a system turn": talk(SYSTEM, user(), said()),
    "many turns": talk(SYSTEM, user(), said(), user(), said(), user(), said()),
    "several answers learnt": talk(user(), said(), user(), said(), answer=3),
    "a call and its answer": talk(user(), call("brew"), told("4"), said()),
    "two answers to two calls": talk(user(), call("brew"), told("4"), told("5"), said()),
    "calls by id": talk(user(), call("brew", call_id="a1"), told("4", call_id="a1"), said()),
    "an id that the call has not": talk(user(), call("brew"), told("4", call_id="a1"), said()),
    "calls one after another": talk(user(), call("brew"), told("4"), call("pour"), told("5"), said()),
    "a call at the end": talk(user(), call("brew")),
    "a call written out": talk(user(), said('<tool_call>{"name": "brew"}</tool_call>'), told("4"), said()),
    "a call in code": talk(user(), said("`brew()`"), told("4"), said()),
    "a pair": pair("Sencha.", "Assam."),
    "a pair of conversations": both((said(), user(), said()), (said("No"), user("Oh"), said("So"))),
    "a pair of calls": both((call("brew"),), (call("pour"),)),
    "a prompt alone": prompt_alone(SYSTEM, user()),
    "a text": raw("Sencha."),
}

ENDS = {
    "with the user": talk(user(), said(), user(), answer=2),
    "with a tool": talk(user(), call("brew"), told("4"), answer=2),
    "with a system turn": talk(user(), said(), SYSTEM, answer=2),
    "with an unknown role": talk(user(), said(), Turn("human", "Hi"), answer=2),
    "the rejected with the user": both((said(),), (said("No"), user())),
    "the chosen with the user": both((said(), user()), (said("No"),)),
    "a prompt with the assistant": talk(user(), said("Sure, "), said()),
    "a prompt alone with the assistant": prompt_alone(user(), said()),
    "a judgement with the user": Content(Kind.JUDGEMENT, (USER,), (said(), user()), label=True),
    "a prompt with a system turn": talk(user(), SYSTEM, said()),
    "a prompt of a system turn": talk(SYSTEM, said()),
}
ENDS_WELL = {
    **{name: content for name, content in IN_ORDER.items() if name != "none"},
    "a prompt with a tool": talk(user(), call("brew"), told("4"), said()),
    "a judgement": Content(Kind.JUDGEMENT, (USER,), (said(),), label=False),
    "no answer at all": Content(Kind.DEMONSTRATION, (USER,), ()),
}

LONG = "Pour the water over the leaves when it has cooled to eighty degrees, wait for two minutes, and take them out."
PAIRS = {
    "the same": (pair("Sencha.", "Sencha."), "error"),
    "other spacing": (pair("Sencha is  green.", "Sencha is green.\n"), "error"),
    "a space that does not break": (pair("80\u00a0degrees", "80 degrees"), "error"),
    "accents coded otherwise": (pair("caf\u00e9 noir", "cafe\u0301 noir"), "error"),
    "a character that nobody sees": (pair("Sen\u200bcha", "Sencha"), "error"),
    "Japanese": (pair("緑茶です。", "緑茶です。 "), "error"),
    "the same calls under other ids": (
        both((call("brew", {"tea": "x"}, call_id="a1"),), (call("brew", {"tea": "x"}, call_id="b2"),)),
        "error",
    ),
    "another weight": (both((having(said(), weight=1),), (said(),)), "error"),
    "the same conversations": (both((said(), user(), said()), (said(), user(), said())), "error"),
    "other case": (pair("sencha IS green", "Sencha is green"), "warning"),
    "other punctuation": (pair("Yes: it is!", "Yes, it is."), "warning"),
    "other quotes": (pair("It is “green”.", 'It is "green".'), "warning"),
    "Chinese punctuation": (pair("茶是绿的，很好。", "茶是绿的, 很好"), "warning"),
    "an inverted mark": (pair("¿Té verde? Sí.", "Té verde, sí."), "warning"),
    "one word in a hundred": (pair("word " * 100 + "green", "word " * 100 + "great"), "info"),
    "nearly the same in Russian": (pair("Зелёный чай " * 20 + "да", "Зелёный чай " * 20 + "он"), "info"),
}
GOOD_PAIRS = {
    "other figures": pair("4", "5"),
    "a decimal point": pair("It costs 1.50 euros.", "It costs 150 euros."),
    "a minus": pair("x = -1", "x = 1"),
    "a dash for a minus": pair("It is –5 °C", "It is 5 °C"),
    "a time": pair("At 5:30", "At 530"),
    "no": pair("I can do that.", "I can't do that."),
    "emojis": pair("Thanks 😀", "Thanks 😢"),
    "one character": pair("茶是绿的", "茶是红的"),
    "C and C++": pair("Use C++.", "Use C."),
    "C and C#": pair("Use C#.", "Use C."),
    "code that differs in signs": pair("Write `f(a, b)`.", "Write `f(a.b)`."),
    "a fenced program": pair("```\nx = [1]; y\n```", "```\nx = [1]: y\n```"),
    "other calls": both((call("brew"),), (call("pour"),)),
    "other arguments": both((call("brew", {"tea": "a"}),), (call("brew", {"tea": "b"}),)),
    "the same words with another call": both(
        (Turn("assistant", LONG, call("brew").extra),), (Turn("assistant", LONG, call("pour").extra),)
    ),
    "a call and no call": both((Turn("assistant", "Wait.", call("brew").extra),), (said("Wait."),)),
    "marks of Markdown": pair("**Sencha** is green", "Sencha is green and good"),
    "a demonstration": demo("Sencha."),
    "umlauts": pair("schon", "schön"),
}

MISMATCHED = {
    "other questions": both((user("Green?"), said()), (user("Black?"), said("Assam."))),
    "a question in one only": both((user("Green?"), said()), (said("Assam."),)),
    "another system turn": both((SYSTEM, user(), said()), (Turn("system", "Be long."), user(), said("No"))),
    "a system turn in one only": both((SYSTEM, user(), said()), (user(), said("No"))),
    "one question more": both((user("A"), user("B"), said()), (user("A"), said("No"))),
    "other figures": both((user("2 + 2"), said("4")), (user("2 + 3"), said("5"))),
    "other questions in Chinese": both((user("绿茶？"), said()), (user("红茶？"), said("No"))),
    "no answer inside": both((user("A"),), (user("B"),)),
    "a word more": both((user("Which green tea is best?"), said()), (user("Which tea is best?"), said("No"))),
    "a role otherwise": both((user("A"), said()), (told("A"), said("No"))),
}
PART_LATER = {
    "what the user says then": both((said(), user("Thanks."), said()), (said("No"), user("Oh!"), said("So"))),
    "one turn more": both((said(), user("And?"), said()), (said("No"),)),
}
MATCHED = {
    "answers alone": pair("Sencha.", "Assam."),
    "the same question inside": both((user("Green?"), said()), (user("Green?"), said("No"))),
    "other spacing": both((user("Green? "), said()), (user(" Green?"), said("No"))),
    "other case": both((user("green?"), said()), (user("Green?"), said("No"))),
    "no question mark": both((user("Green"), said()), (user("Green?"), said("No"))),
    "accents coded otherwise": both((user("Caf\u00e9?"), said()), (user("Cafe\u0301?"), said("No"))),
    "the same conversation": both((said(), user("And?"), said()), (said("No"), user("And?"), said("So"))),
    "other calls with other answers": both((call("brew"), told("4"), said()), (call("pour"), told("5"), said("No"))),
    "a demonstration of several turns": talk(user(), said(), user(), said(), answer=3),
    "a judgement": Content(Kind.JUDGEMENT, (USER,), (said(), user(), said()), label=True),
    "the same system turn": both((SYSTEM, user(), said()), (SYSTEM, user(), said("No"))),
}


@pytest.mark.parametrize("name", EMPTY)
def test_what_says_nothing_is_an_error_and_can_be_rejected(name: str) -> None:
    found = of_row("empty", EMPTY[name])
    assert [(f.severity.value, f.fixable) for f in found] == [("error", True)]


@pytest.mark.parametrize("name", NOT_EMPTY)
def test_what_says_something_is_not_empty(name: str) -> None:
    assert of_row("empty", NOT_EMPTY[name]) == []


@pytest.mark.parametrize("name", ORDER)
def test_an_order_that_templates_refuse_or_misread_is_told(name: str) -> None:
    content, severity, words = ORDER[name]
    found = [f for f in of_row("role_order", content) if words in f.reason]
    assert [(f.severity.value, f.fixable) for f in found][:1] == [(severity, severity == "error")]
    assert all(f.place.split()[0] in {"prompt", "chosen", "rejected"} for f in found)


@pytest.mark.parametrize("name", IN_ORDER)
def test_an_order_that_templates_know_is_fine(name: str) -> None:
    assert of_row("role_order", IN_ORDER[name]) == []


@pytest.mark.parametrize("name", ENDS)
def test_a_wrong_end_is_an_error(name: str) -> None:
    found = of_row("ends_with_assistant", ENDS[name])
    assert [(f.severity.value, f.fixable) for f in found] == [("error", True)]


@pytest.mark.parametrize("name", ENDS_WELL)
def test_a_right_end_is_fine(name: str) -> None:
    assert of_row("ends_with_assistant", ENDS_WELL[name]) == []


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_without_a_difference_are_told_by_how_little_it_is(name: str) -> None:
    content, severity = PAIRS[name]
    found = of_row("identical_pair", content)
    assert [(f.severity.value, f.fixable) for f in found] == [(severity, severity == "error")]


@pytest.mark.parametrize("name", GOOD_PAIRS)
def test_a_small_difference_that_means_something_is_a_pair(name: str) -> None:
    assert of_row("identical_pair", GOOD_PAIRS[name]) == []


@pytest.mark.parametrize("name", MISMATCHED | PART_LATER)
def test_answers_to_different_questions_are_told(name: str) -> None:
    found = of_row("prompt_mismatch", (MISMATCHED | PART_LATER)[name])
    severity = "error" if name in MISMATCHED else "warning"
    assert [(f.severity.value, f.fixable) for f in found] == [(severity, severity == "error")]


@pytest.mark.parametrize("name", MATCHED)
def test_answers_to_one_question_are_a_pair(name: str) -> None:
    assert of_row("prompt_mismatch", MATCHED[name]) == []
