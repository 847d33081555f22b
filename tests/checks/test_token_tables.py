"""Tables of what templates, tokenizers and exports leave in texts, and of texts that only speak of it."""

from __future__ import annotations

import pytest

from checking import demo, of_row, pair, raw, said, talk, thumb, user
from workbench import checks
from workbench.domain.chats import Turn
from workbench.domain.examples import Content

TOKENS = [
    *("Sencha.<|im_end|>", "<|im_start|>assistant\nSencha.", "Sencha.<|eot_id|>", "Sencha.<|endoftext|>"),
    *("Sencha.<|eot|>", "<|header_start|>assistant<|header_end|>\n\nSencha.", "<|begin_of_text|>Sencha."),
    *("<|start_header_id|>assistant<|end_header_id|>\n\nSencha.", "Sencha.</s>", "<s>Sencha.", "<s> Sencha.</s>"),
    *("Sencha.<end_of_turn>\n", "<start_of_turn>model\nSencha.", "<bos>Sencha.", "Sencha.<eos>"),
    *("[INST] Tea? [/INST] Sencha.", "<<SYS>>Be brief.<</SYS>> Sencha.", "[AVAILABLE_TOOLS] [] Sencha."),
    *(
        "Sencha.[TOOL_RESULTS]",
        "Sencha.<|end|>",
        "<|assistant|>\nSencha.",
        "<|user|> Tea? Sencha.",
        "Sencha.<|return|>",
    ),
    *("<|channel|>final<|message|>Sencha.", "Sencha.<｜end▁of▁sentence｜>", "<｜Assistant｜>Sencha."),
    *("[gMASK]<sop>Sencha.", "Sencha.<|observation|>", "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Sencha."),
    *("Sencha.<|fim_suffix|>", "Sencha.[PAD]", "Sencha.[PAD][PAD] [PAD]", "[CLS] Sencha. [SEP]", "Sencha. <pad> <pad>"),
    *("Sencha.</s>\n\nAnd more.", "Sencha.<pad><pad><pad>\nAnd more.", "<|im_middle|>Sencha.", "Sencha.<|EOT|>"),
    *(
        "Sencha.<endoftext>",
        "Sencha.<|end_of_text|>",
        "[|Assistant|] Sencha.",
        "Sencha.<unk>",
        "煎茶です。Sencha.<|im_end|>",
    ),
    *("`brew()` and Sencha.<|im_end|>", "```\nbrew()\n```\nSencha.</s>"),
]
WARNED = {
    "Sencha.<|my_token|>": "looks like",
    "<|reserved_special_token_12|> Sencha.": "looks like",
    "The user asks.\n</think>\nSencha.": "</think> without its <think>",
    "<think>The user asks. Sencha.": "<think> is never closed",
    "<thinking>Hm.</thinking> Sencha.</thinking>": "without its <thinking>",
    '{"name": "brew"}</tool_call>': "</tool_call> without",
    '<tool_call>{"name": "brew"}': "never closed",
    "`<|im_end|>` ends a turn.": "stands in code",
    "```\n<|im_start|>user\n```": "stands in code",
    "As in `[INST] hello [/INST]`.": "stands in code",
    "My name is <unk> and I like tea.": "a word was lost",
    "He said [UNK] to me.": "a word was lost",
    "▁Sencha▁is▁green.": "pieces",
    "SenchaĠisĠgreen.": "pieces",
    "un@@ believ@@ able tea": "pieces",
    "play ##ing with ##out tea": "pieces",
    "Sencha<0x0A>is green": "pieces",
    "Hello, I am {{name}}.": "placeholder {{name}}",
    "Green.\n### Instruction: Now black?": "another speaker",
    "Green.\n\nHuman: and black?": "another speaker",
    "Green.\nUSER: and black?": "another speaker",
    "Assistant: Sencha.": "its own speaker",
    "### Response:\nSencha.": "its own speaker",
    "The answer is [object Object].": "a program wrote",
    "a\x00b": "control character",
    "\x1b[31mred\x1b[0m": "control character",
    "price\u202e.exe": "control character",
    "\ufeffSencha.": "control character",
    "hidden\U000e0069\U000e0067\U000e006e": "control character",
    "caf\ufffd": "lost",
}
QUIET = [
    *(
        "The old price <s>12</s> is now 10 euros.",
        "In HTML, <s>text</s> strikes text out.",
        "<s>12</s> <s>11</s> 10 euros",
    ),
    *("Write a < b and b > c, or a <| b in F#.", "xs |> map f <| y", "The mean ⟨|x|⟩, in ASCII <|x|>, grows."),
    *(
        "Use a[i] and b[j]; see [1].",
        "See [INST](https://example.org), the institute.",
        "The [CLS] token is pooled in BERT.",
    ),
    *("Paris is the [MASK] of France.", "Fill [PAD] behind the end of a sentence.", "A list:\n\t- one\r\n\t- two"),
    *("Emoji 👩‍👩‍👧 and flags 🏳️‍🌈 hold together.", "User: is the column for names.", "The `</s>` ends it in Llama 2."),
    "Use `{{ name }}` in the template:\n```jinja\nHello {{ name }}{% if x %}!{% endif %}\n```",
    *("Set {a, {b}} of sets, and f(x) = {{1, 2}, {3}}.", "Persian: می‌خواهم (with a zero-width joiner)"),
    *("Hebrew \u2067שלום\u2069 in English, \u200fעם סימן", "An icon \uf400 of a font", "ภาษา\u200bไทย"),
    "The flag of England: \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "f\"{{name}}\" and '{{ name }}' and \\frac{{a}}{{b}} and ${{ env }}",
    *("<think>The user asks.</think>\nSencha.", "<reasoning>\nHm.\n</reasoning>\n<answer>4</answer>"),
    *(
        "I think > therefore < I am.",
        "The tags `<think>` and `</think>` stand around it.",
        "<details><summary>a</summary></details>",
    ),
    *(
        '<tool_call>\n{"name": "brew"}\n</tool_call>',
        "## Tea\n### Green: how\n#### And more",
        "C# has #region; CSS has #tea",
    ),
    *("@@ -1,3 +1,4 @@ def brew():", "Sparkline ▁▂▃▅▇ of sales", "San Ġorġ u Ħal Għaxaq", "ann@@firm"),
    *("`console.log([object Object])` is what `{}` gives.", "The colour is 0x0A.", "Ratio 1:2, time 12:30, user: ann"),
    "```html\n<s>old</s>\n```",
]


def fixed(content: Content) -> Content:
    fix = checks.get("template_tokens").fix
    assert fix is not None and fix.edit is not None
    return fix.edit(content)


@pytest.mark.parametrize("text", TOKENS)
def test_a_control_token_is_an_error_and_its_fix_leaves_the_words(text: str) -> None:
    found = of_row("template_tokens", demo(text))
    assert [f for f in found if f.fixable] and all(f.severity.value == "error" for f in found if f.fixable)
    mended = fixed(demo(text))
    assert "Sencha." in mended.chosen[0].content
    assert of_row("template_tokens", mended) == []


@pytest.mark.parametrize("text", WARNED)
def test_other_remains_are_warnings_with_a_place(text: str) -> None:
    found = of_row("template_tokens", demo(text))
    assert WARNED[text] in found[0].reason and {f.severity.value for f in found} == {"warning"}
    assert found[0].place.startswith("chosen turn 1, characters ")


@pytest.mark.parametrize("text", QUIET)
def test_what_only_looks_like_a_leftover_is_left_alone(text: str) -> None:
    assert of_row("template_tokens", demo(text)) == []
    assert fixed(demo(text)) == demo(text)


def test_every_turn_of_every_kind_is_looked_at() -> None:
    token = "Sencha.<|im_end|>"
    contents = (
        *(demo("So.", token), demo("So.", system=token), pair("So.", token), pair(token, "No"), raw(token)),
        *(thumb(token, False), talk(user(), said(token), user(), said("So."))),
        talk(user(), said("brew()"), Turn("tool", token), said("So.")),
    )
    for content in contents:
        assert [f.severity.value for f in of_row("template_tokens", content)] == ["error"]


def test_what_stands_in_code_is_told_and_not_taken_out() -> None:
    text = "In ChatML, `<|im_end|>` ends a turn:\n```\n<|im_start|>user\nHi<|im_end|>\n```\nSo.<|im_end|>"
    assert [f.fixable for f in of_row("template_tokens", demo(text))] == [True, False, False, False]
    assert fixed(demo(text)).chosen[0].content == text.removesuffix("<|im_end|>")


@pytest.mark.parametrize("asked", ["Write a dialogue between Ann and a user", "Schreib ein Gespräch", "写一段对话"])
def test_a_talk_that_was_asked_for_has_its_speakers(asked: str) -> None:
    text = "Here it is.\n\nUser: Green?\nAssistant: Sencha."
    assert of_row("template_tokens", demo(text, asked)) == []
    assert len(of_row("template_tokens", demo(text))) == 1


def test_a_user_may_say_what_an_answer_may_not() -> None:
    asked = "Human: Green?\nAssistant: {{answer}} </think>"
    assert of_row("template_tokens", demo("Sencha.", asked)) == []
