"""What each check of single rows finds, and what it leaves alone: a check that cries wolf is switched off."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import checks
from workbench.checks import boilerplate, identical_pair, template_tokens
from workbench.domain.chats import Turn
from workbench.domain.checks import Finding, RowCheck
from workbench.domain.examples import Content, Kind

USER = Turn("user", "Which tea is green?")


def look(name: str, content: Content) -> list[Finding]:
    check = checks.get(name)
    assert isinstance(check, RowCheck)
    return list(check.look(content))


def said(name: str, content: Content) -> list[str]:
    return [f"{f.severity.value}: {f.reason}" for f in look(name, content)]


def answer(text: str, *, prompt: str = "Which tea is green?") -> Content:
    return Content(Kind.DEMONSTRATION, (Turn("user", prompt),), (Turn("assistant", text),))


def pair(chosen: str, rejected: str) -> Content:
    return Content(Kind.PREFERENCE, (USER,), (Turn("assistant", chosen),), (Turn("assistant", rejected),))


def talk(*roles: str) -> Content:
    calls = [role == "assistant" and after == "tool" for role, after in zip(roles, (*roles[1:], ""), strict=True)]
    *prompt, last = [
        Turn(role, f"turn {n}" + " brew()" * call) for n, (role, call) in enumerate(zip(roles, calls, strict=True))
    ]
    return Content(Kind.DEMONSTRATION, tuple(prompt), (last,))


# empty


@pytest.mark.parametrize("text", ["", "  \n\t ", "\u200b", "\u00a0\ufeff "])
def test_an_answer_without_a_visible_character_is_empty(text: str) -> None:
    assert said("empty", answer(text)) == ["error: the assistant turn is empty"]


@pytest.mark.parametrize("text", ["0", ".", "👍", "茶", "-"])
def test_one_sign_is_an_answer(text: str) -> None:
    assert said("empty", answer(text)) == []


def test_a_tool_call_needs_no_words() -> None:
    call = Turn("assistant", "", '{"tool_calls":[{"function":{"arguments":{},"name":"brew"},"type":"function"}]}')
    assert said("empty", Content(Kind.DEMONSTRATION, (USER,), (call,))) == []


def test_missing_parts_are_empty_only_where_the_kind_needs_them() -> None:
    assert len(look("empty", Content(Kind.PREFERENCE, (), (), ()))) == 3
    assert look("empty", Content(Kind.PROMPT, (USER,), ())) == []
    assert look("empty", Content(Kind.TEXT, (), (Turn("text", "Green tea."),))) == []


# role_order and ends_with_assistant


@pytest.mark.parametrize(
    "roles",
    [
        ("user", "assistant"),
        ("system", "user", "assistant"),
        ("user", "assistant", "user", "assistant"),
        ("user", "assistant", "tool", "tool", "assistant"),
    ],
)
def test_the_usual_orders_are_fine(roles: tuple[str, ...]) -> None:
    assert look("role_order", talk(*roles)) == [] == look("ends_with_assistant", talk(*roles))


@pytest.mark.parametrize(
    ("roles", "severity", "words"),
    [
        (("user", "system", "user", "assistant"), "error", "system"),
        (("user", "tool", "assistant"), "error", "tool"),
        (("narrator", "user", "assistant"), "error", "narrator"),
        (("user", "user", "assistant"), "warning", "two user"),
        (("user", "assistant", "assistant", "user", "assistant"), "warning", "two assistant"),
        (("assistant", "user", "assistant"), "warning", "before anybody"),
    ],
)
def test_an_order_that_templates_refuse_is_told(roles: tuple[str, ...], severity: str, words: str) -> None:
    (found,) = look("role_order", talk(*roles))
    assert found.severity.value == severity and words in found.reason


def test_a_rejected_answer_has_its_order_too() -> None:
    wrong = Content(Kind.PREFERENCE, (USER,), (Turn("assistant", "Sencha."),), (Turn("system", "Assam."),))
    (found,) = look("role_order", wrong)
    assert found.severity.value == "error" and found.place == "rejected turn 1"


def test_the_last_turn_must_be_the_assistants_and_only_there() -> None:
    assert said("ends_with_assistant", talk("user", "assistant", "user"))[0].startswith("error: the answer ends with")
    (found,) = look("ends_with_assistant", talk("user", "assistant", "assistant"))
    assert "nothing to answer" in found.reason and found.place == "prompt turn 2"


# identical_pair and prompt_mismatch


@pytest.mark.parametrize(
    ("chosen", "rejected", "severity"),
    [
        ("Sencha is green.", "Sencha is green.", "error"),
        ("Sencha is green.", " Sencha  is green.\n", "error"),
        ("Sencha is green.", "sencha is green", "warning"),
        ("Yes: it is!", "Yes, it is.", "warning"),
        ("word " * 100 + "green", "word " * 100 + "great", "info"),
    ],
)
def test_pairs_without_a_difference_to_learn_are_told(chosen: str, rejected: str, severity: str) -> None:
    assert [f.severity.value for f in look("identical_pair", pair(chosen, rejected))] == [severity]


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("4", "5"),
        ("It costs 1.50 euros.", "It costs 150 euros."),
        ("x = -1", "x = 1"),
        ("I can do that.", "I can't do that."),
        ("Thanks 😀", "Thanks 😢"),
        ("About 15 minutes, then it is done.", "About 50 minutes, then it is done."),
        ("茶是绿的", "茶是红的"),
    ],
)
def test_a_small_difference_that_means_something_is_a_pair(chosen: str, rejected: str) -> None:
    assert look("identical_pair", pair(chosen, rejected)) == []


def test_answers_to_different_questions_are_no_pair() -> None:
    chosen = (Turn("user", "Green?"), Turn("assistant", "Sencha."))
    rejected = (Turn("user", "Black?"), Turn("assistant", "Assam."))
    found = said("prompt_mismatch", Content(Kind.PREFERENCE, (USER,), chosen, rejected))
    assert found == ["error: chosen and rejected answer different prompts"]


def test_the_same_question_inside_both_answers_is_fine() -> None:
    chosen = (Turn("user", "Green? "), Turn("assistant", "Sencha."))
    rejected = (Turn("user", "Green?"), Turn("assistant", "Assam."))
    assert look("prompt_mismatch", Content(Kind.PREFERENCE, (USER,), chosen, rejected)) == []
    assert look("prompt_mismatch", pair("Sencha.", "Assam.")) == []


def test_conversations_that_part_after_the_first_answer_are_only_a_warning() -> None:
    chosen = (Turn("assistant", "Sencha."), Turn("user", "Thanks."), Turn("assistant", "Gladly."))
    rejected = (Turn("assistant", "Assam."), Turn("user", "No!"), Turn("assistant", "Oh."))
    (found,) = look("prompt_mismatch", Content(Kind.PREFERENCE, (USER,), chosen, rejected))
    assert found.severity.value == "warning"


# template_tokens


@pytest.mark.parametrize(
    "text",
    [
        "Sencha.<|im_end|>",
        "<|im_start|>assistant\nSencha.",
        "Sencha.<|eot_id|>",
        "Sencha.<|endoftext|>",
        "Sencha.</s>",
        "<s>Sencha.",
        "Sencha.<end_of_turn>\n",
        "[/INST] Sencha.",
        "<<SYS>>Be brief.<</SYS>> Sencha.",
        "Sencha.<｜end▁of▁sentence｜>",
    ],
)
def test_control_tokens_are_errors_and_are_removed(text: str) -> None:
    found = look("template_tokens", answer(text))
    assert found and all(f.severity.value == "error" and f.fixable for f in found)
    fix = checks.get("template_tokens").fix
    assert fix is not None and fix.edit is not None
    mended = fix.edit(answer(text)).chosen[0].content
    assert "Sencha." in mended and not look("template_tokens", answer(mended))


@pytest.mark.parametrize(
    "text",
    [
        "The old price <s>12</s> is now 10 euros.",
        "In HTML, <s>text</s> strikes text out.",
        "Write a < b and b > c, or a <| b in F#.",
        "Use a[i] and b[j]; see [1].",
        "A list:\n\t- one\r\n\t- two",
        "Emoji 👩‍👩‍👧 and flags 🏳️‍🌈 hold together.",
        "Use `{{ name }}` in the template:\n```jinja\nHello {{ name }}{% if x %}!{% endif %}\n```",
        "User: is the column for names.",
        "Set {a, {b}} of sets, and f(x) = {{1, 2}, {3}}.",
        "Persian: می‌خواهم (with a zero-width joiner)",
        "Hebrew \u2067שלום\u2069 in English, \u200fעם סימן",
        "The flag of England: \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "f\"{{name}}\" and '{{ name }}' and \\frac{{a}}{{b}} and ${{ env }}",
        "An icon \uf400 of a font",
    ],
)
def test_what_only_looks_like_a_leftover_is_left_alone(text: str) -> None:
    assert look("template_tokens", answer(text)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, I am {{name}}.", "placeholder {{name}}"),
        ("Green.\n### Instruction: Now black?", "another speaker"),
        ("Green.\n\nHuman: and black?", "another speaker"),
        ("a\x00b", "control character"),
        ("\x1b[31mred\x1b[0m", "control character"),
        ("price\u202e.exe", "control character"),
        ("hidden\U000e0069\U000e0067\U000e006e", "control character"),
        ("caf\ufffd", "lost"),
        ("<|my_token|> here", "looks like"),
    ],
)
def test_other_remains_are_warnings(text: str, words: str) -> None:
    (found,) = look("template_tokens", answer(text))
    assert found.severity.value == "warning" and words in found.reason


def test_removing_a_token_does_not_make_a_new_one() -> None:
    fix = checks.get("template_tokens").fix
    assert fix is not None and fix.edit is not None
    assert fix.edit(answer("Tea<|im_<|im_end|>end|>")).chosen[0].content == "Tea"


# boilerplate


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that request.",
        "I’m sorry, but I cannot help with that.",
        "Sorry, I am unable to provide medical advice.",
        "I cannot fulfill this request.",
        "I apologize, but I cannot provide that.",
        "As an AI language model, I do not have feelings.",
        "Well, as an AI, I have no body.",
        "I am ChatGPT, a model trained by OpenAI.",
        "I was created by Anthropic.",
        "As of my last knowledge update in 2021, it was so.",
        "I won't be able to help with that.",
        "I must respectfully decline.",
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Je suis désolé, mais je ne peux pas vous aider avec cela.",
        "Lo siento, pero no puedo ayudarte con eso.",
        "很抱歉，我无法协助。",
        "Als KI-Sprachmodell habe ich keine Meinung.",
        "Ich bin ein KI-Assistent und helfe gern.",
        "作为一个AI语言模型，我没有感情。",
    ],
)
def test_refusals_and_self_talk_are_told(text: str) -> None:
    assert len(look("boilerplate", answer(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "I am sorry that your kettle is broken. I have asked for a new one.",
        "Sorry, we are closed on Sunday.",
        "Sorry to hear that! I can help you with a refund.",
        "The hero said: I'm sorry, but I can't help with that any more, and left.",
        "GPT-3 is a language model developed by OpenAI.",
        "A language model predicts the next word.",
        "You cannot provide water to plants in winter.",
        "Es tut mir leid, dass du krank bist. Das wird nicht lange dauern.",
        "Lo siento, no pude ir a la fiesta.",
        "Je suis heureux. Je ne peux pas attendre.",
        "抱歉让您久等了。以下是答案。",
        "The cost will decline, and nobody will be able to help it.",
        "I do not know.",
        "Claude Monet painted water lilies.",
    ],
)
def test_politeness_and_talk_about_models_are_left_alone(text: str) -> None:
    assert look("boilerplate", answer(text)) == []


def test_a_refusal_that_was_rejected_or_disliked_is_not_told() -> None:
    refusal = "I'm sorry, but I can't assist with that."
    assert look("boilerplate", pair("Sencha.", refusal)) == []
    disliked = Content(Kind.JUDGEMENT, (USER,), (Turn("assistant", refusal),), label=False)
    assert look("boilerplate", disliked) == []


# personal_data: none of these is anybody's; check digits are computed where the thing has some


def luhn(digits: str) -> str:
    """The digits and the check digit that makes them a card's number."""
    doubled = [int(d) * (2 if n % 2 == 0 else 1) for n, d in enumerate(reversed(digits))]
    return digits + str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)


def iban(country: str, account: str) -> str:
    """The account with its check digits (ISO 7064, modulo 97)."""
    number = "".join(str(int(c, 36)) for c in account + country + "00")
    return f"{country}{98 - int(number) % 97:02}{account}"


CARD = luhn("471690112345678")
AWS_KEY = "AKIA" + "Q3EGRIPM7UOZ5VNW"
MIXED_LETTERS = "ZxQwErTyUiOpAsDfGhJkLzXcVbNmQwErT"  # of nobody
GITHUB_TOKEN = "ghp_" + "k9Rq2ZtVb7XnLw4JmHd8CsYf3PgTa6EuWi1o"


@pytest.mark.parametrize(
    ("text", "name", "severity"),
    [
        ("Write to ann.meyer@firma-meyer.de today.", "EMAIL", "warning"),
        ("<joe+news@mail.uni-bonn.de>", "EMAIL", "warning"),
        ("Call +49 30 901820 now.", "PHONE", "warning"),
        ("Call (780) 800-7092.", "PHONE", "warning"),
        (f"My card is {CARD[:4]} {CARD[4:8]} {CARD[8:12]} {CARD[12:]}.", "CARD", "error"),
        (f"Card {CARD}.", "CARD", "error"),
        (f"Pay to {iban('DE', '512108001245126199')}.", "IBAN", "error"),
        ("It came from 81.169.145.66 at noon.", "IP", "warning"),
        ("It came from 2a01:238:20a:202:1145::1 at noon.", "IP", "warning"),
        (f"key = {AWS_KEY}", "SECRET", "error"),
        (f"token {GITHUB_TOKEN} works", "SECRET", "error"),
        (f"HF_TOKEN={'hf_' + MIXED_LETTERS}", "SECRET", "error"),
        (f"key {'sk-ant-api03-' + MIXED_LETTERS} works", "SECRET", "error"),
        (f"key={'AIza' + MIXED_LETTERS + '-9'}", "SECRET", "error"),
        ("postgres://ann:S3cr3tPw9x@db.firma-meyer.de/x", "SECRET", "error"),
    ],
)
def test_personal_data_is_found_where_it_stands_and_redacted(text: str, name: str, severity: str) -> None:
    (found,) = look("personal_data", answer(text))
    assert found.severity.value == severity and found.fixable and found.place.startswith("chosen turn 1, characters")
    fix = checks.get("personal_data").fix
    assert fix is not None and fix.edit is not None
    redacted = fix.edit(answer(text)).chosen[0].content
    assert f"[{name}]" in redacted and not look("personal_data", answer(redacted))


@pytest.mark.parametrize(
    "text",
    [
        "Write to you@example.com or name@yourcompany.com.",
        "John.Doe-123%+@example-domain.com is a valid address.",
        "git@github.com:owner/name.git",
        "A decorator is @property; a handle is @ann.",
        "Order 4716901123456789012345 of 2024-05-12",
        "Call 555-0123 or (212) 555-0187.",
        "The test card is 4242 4242 4242 4242.",
        f"One digit off: {CARD[:-1]}{(int(CARD[-1]) + 1) % 10}",
        "1234567890123456",
        "It was 1700000000000 milliseconds, order 37267.",
        "Version 1.2.3.4 and v10.11.12.13 are out.",
        "127.0.0.1, 192.168.1.20, 10.0.0.7, 203.0.113.9 and 8.8.8.8",
        "12:34:56 and ratio 1:2:3, Foo::Bar::baz",
        "DE12345678901234567890 has wrong check digits",
        "AKIAIOSFODNN7EXAMPLE is in the manual",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "hf_your_token_here and hf_hub_download and sk-ant-your-key",
        "https://user:password@example.com/x and http://localhost:8080/a@b",
        "task-management, desk-jockey, risk-averse, sk-learn",
        "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----",
        "3.14159265358979323846 and 299792458",
        "2023-01-15 10:30:00 to 2023-01-16",
    ],
)
def test_what_is_made_up_or_only_looks_personal_is_left_alone(text: str) -> None:
    assert look("personal_data", answer(text)) == []


def test_a_private_key_is_redacted_whole() -> None:
    body = "\n".join("MIIEpAIBAAKCAQEA7bq0Zr" + "x9Kd" * 10 for _ in range(4))
    text = f"Here:\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\nBye."
    fix = checks.get("personal_data").fix
    assert fix is not None and fix.edit is not None
    assert fix.edit(answer(text)).chosen[0].content == "Here:\n[SECRET]\nBye."


def test_the_arguments_of_tool_calls_are_redacted_too_and_stay_json() -> None:
    extra = (
        '{"tool_calls":[{"function":{"arguments":{"to":"ann.meyer@firma-meyer.de"},"name":"mail"},"type":"function"}]}'
    )
    content = Content(Kind.DEMONSTRATION, (USER,), (Turn("assistant", "", extra),))
    assert len(look("personal_data", content)) == 1
    fix = checks.get("personal_data").fix
    assert fix is not None and fix.edit is not None
    turn = fix.edit(content).chosen[0]
    assert turn.tool_calls[0]["function"]["arguments"] == {"to": "[EMAIL]"}


@given(st.from_regex(boilerplate._SELF, fullmatch=True))
def test_whatever_speaks_of_itself_has_one_of_the_hints(said: str) -> None:
    assert boilerplate._hints().find_matches_as_indexes(said.lower().encode()), said


def test_the_quick_looks_pass_over_nothing_that_the_patterns_look_for() -> None:
    for hint in template_tokens._HINTS:
        assert "<" in hint or "[" in hint or hint in ("INST]", "SYS>>", "bos>", "eos>"), hint
    for found in ("<s>", "[INST]", "Human: hi", "{{name}}", "\x07", "\x7f", "\u202e", "\ufffd", "\x1b[0m"):
        assert template_tokens._may_have_any(f"so {found} so"), found


@given(st.lists(st.sampled_from([" ", "\n", "a", "A", "b.", "\u3000", "“a", "ſ", "1.5"]), max_size=6), st.data())
def test_pairs_are_told_apart_by_their_first_words_as_by_all_of_them(parts: list[str], data: st.DataObject) -> None:
    chosen, rejected = "".join(parts), "".join(data.draw(st.permutations(parts)))
    same = chosen.split() == rejected.split()
    assert not same or identical_pair._first_word(chosen) == identical_pair._first_word(rejected)


@given(
    st.lists(st.sampled_from(["A", "a", "b", "ſ", "1", "Kb", " ", "”", "word " * 20, "\u200b"]), max_size=5), st.data()
)
def test_pairs_that_a_quick_look_tells_apart_are_found_in_nothing(parts: list[str], data: st.DataObject) -> None:
    one, other = "".join(parts), "".join(data.draw(st.permutations([*parts, *data.draw(st.just(parts[:1]))])))
    content = Content(Kind.PREFERENCE, (USER,), (Turn("assistant", one),), (Turn("assistant", other),))
    if identical_pair._differ(content.chosen, content.rejected):
        with mock.patch.object(identical_pair, "_differ", return_value=False):
            assert list(identical_pair.look(content)) == []
