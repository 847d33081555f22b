"""What chat templates and broken exports leave in texts: control tokens, unfilled placeholders, control characters.

A tokenizer turns the written form of a control token into the token itself, in the middle of what somebody said: the
model then learns to end or begin turns where it must not. Other models' tokens are noise in each row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from workbench.domain.chats import Role, Turn
from workbench.domain.checks import Finding, Fix, FixKind, RowCheck, Severity, Text
from workbench.domain.examples import Content

# ChatML, Llama 2 and 3, Gemma, Phi, Mistral, DeepSeek, Qwen, GPT: tokens that have no meaning as text.
_TOKENS = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|end_of_text|begin_of_text|startoftext|start_header_id|end_header_id"
    r"|eot_id|eom_id|end|user|assistant|system|tool|start|message|channel|return|call|endofprompt|pad|eos|bos"
    r"|fim_prefix|fim_middle|fim_suffix|python_tag|end_of_turn|start_of_role|end_of_role|START_OF_TURN_TOKEN"
    r"|END_OF_TURN_TOKEN)\|>"
    r"|<(?:start_of_turn|end_of_turn)>|\[/?INST\]|<</?SYS>>|<｜[\w▁ ]{2,40}｜>"
    r"|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|SYSTEM_PROMPT)\]"
)
# These are HTML too, or words of a lesson: only where a tokenizer's decoder would have put them.
_AT_THE_ENDS = re.compile(r"\A\s*<s>(?!.*</s>\s*\S)|</s>\s*\Z|<(?:pad|unk|bos|eos)>\s*\Z|\A\s*<bos>", re.DOTALL)
_ANY_TOKEN = re.compile(r"<\|[A-Za-z][A-Za-z0-9_]{1,30}\|>")
_HINTS = (
    *("<|", "<start_of", "<end_of", "INST]", "SYS>>", "<｜", "<s>", "</s>", "<pad>", "<unk>", "bos>", "eos>"),
    *("[AVAIL", "[TOOL_C", "[SYSTEM_P", "[/AVAIL", "[/TOOL_C", "[/SYSTEM_P"),
)
# Another speaker's turn written out inside an answer: the answer ran on past its end.
_SPEAKERS = ("Instruction", "Human", "User", "Input")
_NEXT_SPEAKER = re.compile(r"^(?:### ?(?:Instruction|Human|User|Input)|<?(?:Human|User)>?) ?:[ \t]*\S", re.MULTILINE)
# In prose, not inside a string of some program, a formula or a LaTeX argument.
_PLACEHOLDER = re.compile(r"(?<![\w\"'`=({\\$}])\{\{ ?[A-Za-z_][A-Za-z0-9_ ]{0,30}\}\}(?![\w\"'`({$])")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
# Text that reverses what follows it, and tag characters outside the flags that are written with them, hide something;
# other marks of direction belong to Arabic and Hebrew.
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u202d\u202e\ufff9-\ufffb]+"
    "|(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0000-\U000e007f]+"
)
_ESCAPE = re.compile("\x1b\\[[0-9;?]*[A-Za-z]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?")
_ASCII_CONTROLS = bytes(code for code in range(128) if _CONTROL.match(chr(code)))
_BROKEN = "\ufffd"
_ASSISTANT = Role.ASSISTANT.value


def look(content: Content) -> Iterator[Finding]:
    """Findings for every text; in code, tokens count all the same, because a tokenizer does not know code."""
    for part, turns in (("prompt", content.prompt), ("chosen", content.chosen), ("rejected", content.rejected)):
        for number, turn in enumerate(turns):
            if _may_have_any(turn.content):
                yield from _in_text(Text(part, number, turn.role, turn.content))


def _may_have_any(text: str) -> bool:
    """False for texts of nothing but plain words: what each finding needs is not in them."""
    return "<" in text or "[" in text or ":" in text or "{{" in text or _may_have_controls(text)


def _in_text(text: Text) -> Iterator[Finding]:
    if "<" in text.text or "[" in text.text:
        yield from _tokens(text)
    if text.role == _ASSISTANT:
        yield from _remains(text)
    if _may_have_controls(text.text):
        yield from _controls(text)
    if _BROKEN in text.text:
        start, many = text.text.index(_BROKEN), text.text.count(_BROKEN)
        lost = "a character was" if many == 1 else f"{many} characters were"
        reason = f"{lost} lost in some earlier conversion (U+FFFD)"
        yield Finding(Severity.WARNING, reason, text.place(start, start + 1))


def _may_have_controls(text: str) -> bool:
    """False for nearly all texts, at a small part of the pattern's cost."""
    if not text.isascii():
        return True
    if text.isprintable():
        return False
    raw = text.encode("ascii")
    return len(raw.translate(None, _ASCII_CONTROLS)) != len(raw)


def _tokens(text: Text) -> Iterator[Finding]:
    if not any(map(text.text.__contains__, _HINTS)):
        return
    known = [*_TOKENS.finditer(text.text), *_AT_THE_ENDS.finditer(text.text)]
    for found in known:
        reason = f"the control token {found[0].strip()} stands in the text"
        yield Finding(Severity.ERROR, reason, text.place(found.start(), found.end()), fixable=True)
    spans = {found.span() for found in known}
    for found in _ANY_TOKEN.finditer(text.text):
        if found.span() not in spans:
            reason = f"{found[0]} looks like a model's control token"
            yield Finding(Severity.WARNING, reason, text.place(found.start(), found.end()))


def _remains(text: Text) -> Iterator[Finding]:
    may_run_on = ":" in text.text and any(map(text.text.__contains__, _SPEAKERS))
    if may_run_on and (found := _NEXT_SPEAKER.search(text.text)) and found.start() > 0:
        reason = f"the answer runs on into another speaker's turn ({found[0][:-1].strip()})"
        yield Finding(Severity.WARNING, reason, text.place(found.start(), found.end()))
    if "{{" in text.text:
        prose = _CODE.sub(lambda code: " " * len(code[0]), text.text)
        for found in _PLACEHOLDER.finditer(prose):
            reason = f"the placeholder {found[0]} was never filled in"
            yield Finding(Severity.WARNING, reason, text.place(found.start(), found.end()))


def _controls(text: Text) -> Iterator[Finding]:
    found = _ESCAPE.search(text.text) or _CONTROL.search(text.text)
    if found is not None:
        many = sum(len(part[0]) for part in _CONTROL.finditer(text.text))
        names = ", ".join(f"U+{ord(c):04X}" for c in sorted(set("".join(_CONTROL.findall(text.text))))[:3])
        reason = f"{many} control {'character' if many == 1 else 'characters'} that nobody sees ({names})"
        yield Finding(Severity.WARNING, reason, text.place(found.start(), found.end()), fixable=True)


def without(content: Content) -> Content:
    """The content without control tokens and control characters, and without the spaces that they leave at the ends."""
    return replace(
        content,
        prompt=_mended(content.prompt),
        chosen=_mended(content.chosen),
        rejected=_mended(content.rejected),
    )


def _mended(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    return tuple(replace(turn, content=_clean(turn.content)) for turn in turns)


def _clean(text: str) -> str:
    found = _CONTROL.sub("", _ESCAPE.sub("", text))
    while (less := _AT_THE_ENDS.sub("", _TOKENS.sub("", found))) != found:
        found = less
    return text if found == text else found.strip()


CHECK = RowCheck(
    "template_tokens",
    title="Template leftovers",
    summary="control tokens of chat templates, unfilled placeholders, control characters",
    look=look,
    fix=Fix(FixKind.EDIT, "remove the tokens and characters", without),
)
