"""What chat templates and broken exports leave in texts: control tokens, unfilled placeholders, control characters.

A tokenizer turns the written form of a control token into the token itself, in the middle of what somebody said: the
model then learns to end or begin turns where it must not. Other models' tokens are noise in each row. Where a token
stands in code it may be what the text is about: that is told, and not taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from workbench.domain.chats import Role, Turn
from workbench.domain.checks import Finding, Fix, FixKind, RowCheck, Severity, Text
from workbench.domain.examples import Content

# ChatML, Llama 2 to 4, Gemma, Phi, Mistral, DeepSeek, Qwen, GLM, Kimi, Command R, GPT: no meaning as text.
_TOKENS = re.compile(
    r"<\|(?:im_start|im_end|im_sep|im_user|im_assistant|im_system|im_middle|endoftext|end_of_text|begin_of_text"
    r"|startoftext|start_header_id|end_header_id|header_start|header_end|eot_id|eom_id|eot|eom|EOT|end|user|assistant"
    r"|system|tool|observation|start|message|channel|return|call|endofprompt|prompter|pad|eos|bos|endofmessage"
    r"|fim_prefix|fim_middle|fim_suffix|python_tag|python_start|python_end|end_of_turn|start_of_role|end_of_role"
    r"|START_OF_TURN_TOKEN|END_OF_TURN_TOKEN|USER_TOKEN|CHATBOT_TOKEN|SYSTEM_TOKEN|END_RESPONSE|START_RESPONSE"
    r"|vision_start|vision_end|image_pad|object_ref_start|object_ref_end|box_start|box_end|/s|sep)\|>"
    r"|<(?:start_of_turn|end_of_turn|bos_token|eos_token)>|\[/?INST\](?!\()|<</?SYS>>|<｜[/\w▁ ]{2,40}｜>"
    r"|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT|TOOL_CONTENT)\]|\[gMASK\]|\[\|(?:Human|AI|Assistant)\|\]"
    r"|<\|endoftext>|<endoftext>|<\|?end_of_text\|?>"
)
# These are HTML too, or words of a lesson: only where a tokenizer's decoder would have put them.
_AT_THE_ENDS = re.compile(
    r"\A\s*<s>(?!.*</s>\s*\S)|</s>\s*\Z|(?:<(?:pad|unk|bos|eos)>|\[(?:PAD|SEP|EOS|UNK)\])\s*\Z"
    r"|\A\s*(?:<(?:bos|sop)>|\[(?:CLS|BOS|PAD)\])",
    re.DOTALL,
)
_SEVERAL = re.compile(r"(?:(?:\[PAD\]|<pad>)\s*){2,}")
_STRIKE = re.compile(r"</?s>")
_ANY_TOKEN = re.compile(r"<\|(?=[A-Za-z0-9]*_|[A-Za-z]{6})[A-Za-z][A-Za-z0-9_]{1,30}\|>")
_UNKNOWN = re.compile(r"<unk>|\[UNK\]")
_HINTS = (
    *("<|", "<start_of", "<end_of", "INST]", "SYS>>", "<｜", "<s>", "</s>", "<pad>", "<unk>", "<bos", "<eos", "<sop>"),
    *("[AVAIL", "[TOOL_", "[SYSTEM_P", "[/AVAIL", "[/TOOL_", "[/SYSTEM_P", "[PAD]", "[SEP]", "[EOS]", "[UNK]"),
    *("[CLS]", "[BOS]", "[gMASK]", "[|", "<endoftext>"),
)
# A model's reasoning, which templates open for it: what is left of it must still be a pair.
_REASONING = re.compile(r"<(/?)(think|thinking|reasoning|tool_call|tool_response)>")
_REASONS = ("think", "reasoning>", "tool_")
# Pieces of a tokenizer's vocabulary that were never put together again.
_PIECES = re.compile(
    r"<0x[0-9A-F]{2}>|(?<!｜)(?<![\w▁])(?:\w*▁\w+){2}(?![▁｜])"
    r"|[a-z.,!?]Ġ[A-Za-z]|Ċ\w|\w+@@ \w|(?<!\w)##[a-z]+ (?:\w+ )?##[a-z]+"
)
_PIECE_SIGNS = ("<0x", "▁", "Ġ", "Ċ", "@@ ", "##")
_OBJECT = "[object Object]"
# Another speaker's turn written out inside an answer: the answer ran on past its end.
_SPEAKERS = ("Instruction", "Human", "User", "Input", "USER", "HUMAN")
_NEXT_SPEAKER = re.compile(
    r"^(?:### ?(?:Instruction|Human|User|Input)|<?(?:Human|User|USER|HUMAN)>?) ?:[ \t]*\S", re.MULTILINE
)
_OWN_NAME = re.compile(
    r"\A\s*(?:### ?(?:Response|Assistant|Answer|Output) ?:|(?:ASSISTANT|Assistant|<?bot>?|<bot>) ?:)"
)
# Somebody asked for several speakers.
_TALK_ASKED = re.compile(
    r"dialog|diálog|conversation|conversación|conversazione|transcript|script|screenplay|interview|chat|gespräch"
    r"|few-shot|prompt|template|roleplay|role-play|Q&A|对话|会話|대화|диалог",
    re.IGNORECASE,
)
# In prose, not inside a string of some program, a formula or a LaTeX argument.
_PLACEHOLDER = re.compile(r"(?<![\w\"'`=({\\$}])\{\{ ?[A-Za-z_][A-Za-z0-9_ ]{0,30}\}\}(?![\w\"'`({$])")
_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`", re.DOTALL)
# Text that reverses what follows it, and tag characters outside the flags that are written with them, hide something;
# other marks of direction belong to Arabic and Hebrew. A mark of byte order is what is left of a file's beginning.
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u202d\u202e\ufeff\ufff9-\ufffb\ufffe\uffff]+"
    "|(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0000-\U000e007f]+"
)
_ESCAPE = re.compile("\x1b\\[[0-9;?]*[A-Za-z]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?")
_ASCII_CONTROLS = bytes(code for code in range(128) if _CONTROL.match(chr(code)))
# What plain words are written with: nothing of it alone makes a finding.
_WORDS = bytes(code for code in range(128) if code not in _ASCII_CONTROLS and chr(code) not in "<[:{#@")
_BROKEN = "\ufffd"
_ASSISTANT = Role.ASSISTANT.value


def look(content: Content) -> Iterator[Finding]:
    """Findings for every text."""
    if not _may_have_any("".join([turn.content for turn in (*content.prompt, *content.chosen, *content.rejected)])):
        return
    for part, turns in (("prompt", content.prompt), ("chosen", content.chosen), ("rejected", content.rejected)):
        for number, turn in enumerate(turns):
            if _may_have_any(turn.content):
                yield from _in_text(Text(part, number, turn.role, turn.content), content)


def _may_have_any(text: str) -> bool:
    """False for texts of nothing but plain words: what each finding needs is not in them."""
    if text.isascii() and not text.encode("ascii").translate(None, _WORDS):
        return False
    is_plain = not ("<" in text or "[" in text or ":" in text or "{{" in text or "##" in text or "@@" in text)
    return not is_plain or _may_have_controls(text)


def _in_text(text: Text, content: Content) -> Iterator[Finding]:
    code = _Code(text.text)
    if "<" in text.text or "[" in text.text:
        yield from _tokens(text, code)
    if any(map(text.text.__contains__, _PIECE_SIGNS)) and (found := code.outside(_PIECES)):
        reason = f"pieces of a tokenizer's vocabulary stand in the text ({found[0]})"
        yield Finding(Severity.WARNING, reason, text.place(found.start(), found.end()))
    if text.role == _ASSISTANT:
        yield from _remains(text, content, code)
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


@dataclass(slots=True)
class _Code:
    """Where code stands in a text; looked for once, and only when something was found in it."""

    text: str
    _spans: list[tuple[int, int]] | None = field(default=None)

    def holds(self, start: int) -> bool:
        if self._spans is None:
            has_any = "`" in self.text or "~~~" in self.text
            self._spans = [found.span() for found in _CODE.finditer(self.text)] if has_any else []
        return any(first <= start < last for first, last in self._spans)

    def outside(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The first match that is not in code."""
        return next((found for found in pattern.finditer(self.text) if not self.holds(found.start())), None)


def _removable(text: str, code: _Code) -> list[tuple[int, int]]:
    """Where control tokens stand outside code, in order, none inside another."""
    spans = [found.span() for pattern in (_TOKENS, _AT_THE_ENDS, _SEVERAL) for found in pattern.finditer(text)]
    spans += _unopened(text)
    apart: list[tuple[int, int]] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not code.holds(start) and (not apart or start >= apart[-1][1]):
            apart.append((start, end))
    return apart


def _unopened(text: str) -> Iterator[tuple[int, int]]:
    """Every ``</s>`` that no ``<s>`` stands before: HTML has both."""
    is_open = 0
    for found in _STRIKE.finditer(text) if "</s>" in text else ():
        if found[0] == "<s>":
            is_open += 1
        elif is_open:
            is_open -= 1
        else:
            yield found.span()


def _tokens(text: Text, code: _Code) -> Iterator[Finding]:
    if not any(map(text.text.__contains__, _HINTS)):
        return
    removable = _removable(text.text, code)
    for start, end in removable:
        reason = f"the control token {text.text[start:end].strip()} stands in the text"
        yield Finding(Severity.ERROR, reason, text.place(start, end), fixable=True)
    for found in _TOKENS.finditer(text.text):
        if code.holds(found.start()):
            reason = f"{found[0]} stands in code: a model that has this token reads it as the token itself"
            yield Finding(Severity.WARNING, reason, text.place(found.start(), found.end()))
    known = {start for start, _ in removable}
    for found in _ANY_TOKEN.finditer(text.text):
        if found.start() not in known and not code.holds(found.start()) and not _TOKENS.match(found[0]):
            reason = f"{found[0]} looks like a model's control token"
            yield Finding(Severity.WARNING, reason, text.place(found.start(), found.end()))
    if (unknown := code.outside(_UNKNOWN)) and unknown.start() not in known:
        reason = f"a word was lost in some earlier conversion ({unknown[0]})"
        yield Finding(Severity.WARNING, reason, text.place(unknown.start(), unknown.end()))


def _remains(text: Text, content: Content, code: _Code) -> Iterator[Finding]:
    if (found := _OWN_NAME.match(text.text)) and not _is_talk_asked(content):
        reason = f"the answer begins with its own speaker's name ({found[0].strip()})"
        yield Finding(Severity.WARNING, reason, text.place(found.start(), found.end()))
    may_run_on = ":" in text.text and any(map(text.text.__contains__, _SPEAKERS))
    if may_run_on and (found := code.outside(_NEXT_SPEAKER)) and found.start() > 0 and not _is_talk_asked(content):
        reason = f"the answer runs on into another speaker's turn ({found[0][:-1].strip()})"
        yield Finding(Severity.WARNING, reason, text.place(found.start(), found.end()))
    if "<" in text.text and any(map(text.text.__contains__, _REASONS)):
        yield from _reasoning(text, code)
    if "{{" in text.text:
        prose = _CODE.sub(lambda code: " " * len(code[0]), text.text)
        for found in _PLACEHOLDER.finditer(prose):
            reason = f"the placeholder {found[0]} was never filled in"
            yield Finding(Severity.WARNING, reason, text.place(found.start(), found.end()))
    at = text.text.find(_OBJECT)
    if at >= 0 and not code.holds(at):
        reason = f"a program wrote {_OBJECT} where a text should stand"
        yield Finding(Severity.WARNING, reason, text.place(at, at + len(_OBJECT)))


def _is_talk_asked(content: Content) -> bool:
    return any(_TALK_ASKED.search(turn.content) for turn in content.prompt)


def _reasoning(text: Text, code: _Code) -> Iterator[Finding]:
    """At most one finding: the first tag of a model's reasoning or calls that has no other half."""
    is_open: dict[str, re.Match[str]] = {}
    for found in _REASONING.finditer(text.text):
        if code.holds(found.start()):
            continue
        if not found[1]:
            is_open[found[2]] = found
        elif is_open.pop(found[2], None) is None:
            reason = f"{found[0]} without its <{found[2]}>"
            yield Finding(Severity.WARNING, reason, text.place(found.start(), found.end()))
            return
    for name, found in is_open.items():
        yield Finding(Severity.WARNING, f"<{name}> is never closed", text.place(found.start(), found.end()))
        return


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
    found = text
    while (less := _cleaner(found)) != found:
        found = less
    return text if found == text else found


def _cleaner(text: str) -> str:
    found = _CONTROL.sub("", _ESCAPE.sub("", text))
    for start, end in reversed(_removable(found, _Code(found))):
        found = found[:start] + found[end:]
    return found if found == text else found.strip()


CHECK = RowCheck(
    "template_tokens",
    title="Template leftovers",
    summary="control tokens of chat templates, unfilled placeholders, control characters",
    look=look,
    fix=Fix(FixKind.EDIT, "remove the tokens and characters", without),
)
