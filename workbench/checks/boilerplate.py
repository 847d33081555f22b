"""Answers that refuse, or that speak as another company's model: what a model trained on them will say, too.

Only told, never mended: a refusal may be what somebody wants to teach.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from workbench.domain.chats import Role
from workbench.domain.checks import Finding, RowCheck, Severity, Text
from workbench.domain.examples import Content, Kind

_ASSISTANT = Role.ASSISTANT.value
_OPENING_CHARACTERS = 240

# At the beginning of an answer; in the middle of a story somebody may well be unable to help.
_REFUSAL = re.compile(
    r"\A\W*(?:"
    r"(?:(?:i'?m|i am) (?:very |so |really |truly )?sorry|i apologi[sz]e|my apologies|sorry|unfortunately)\b[,.!:]?"
    r"(?: for (?:the|any) \w+[,.]?)? ?(?:but )?(?:as an? [\w ]{2,30}, ?)?(?:i|we)(?:'m| am)? ?"
    r"(?:can(?:'t|not| not)|could not|couldn't|won't|will not|not able to|unable to|don't|do not)"
    r" (?:be able to )?(?:assist|help|provide|fulfil+|comply|answer|do that|do this|create|generate|write|engage"
    r"|support|have (?:access|the ability|enough|personal|real[- ]time)|feel comfortable)"
    r"|i (?:can(?:'t|not)|can not|won't|am not able to|am unable to|'m unable to)"
    r" (?:assist|help you with|fulfil+|comply|provide (?:assistance|information|instructions|guidance)"
    r"|engage in|create content|support|in good conscience)"
    r"|(?:i'?m|i am) (?:not able|unable) to (?:assist|help|fulfil+|comply|provide)"
    r"|i(?: won't| will not|'m not going to) be able to (?:assist|help|provide|fulfil+)"
    r"|i (?:must|have to|need to) (?:respectfully )?(?:decline|refuse)"
    r"|(?:es )?tut mir (?:sehr )?leid,? (?:aber )?(?:\w+,? ){0,5}?kann (?:ich )?[^.!?\n]{0,60}\bnicht\b"
    r"|(?:dabei|damit|das) kann ich (?:\w+ ){0,2}nicht (?:helfen|unterstützen)"
    r"|(?:je suis |désolée?,? )[^.!?\n]{0,40}je ne (?:peux|suis) pas (?:\w+ ){0,3}(?:aider|fournir|répondre|en mesure)"
    r"|lo siento,? (?:pero )?(?:\w+,? ){0,5}?no puedo (?:ayudar|proporcionar|cumplir|hacer)"
    r"|(?:很|非常)?(?:抱歉|对不起|不好意思)[^。！？\n]{0,12}(?:无法|不能|没办法|没有办法)"
    r")",
    re.IGNORECASE,
)
_SELF = re.compile(
    r"\bas an? (?:(?:large )?language model|ai(?: (?:language )?(?:model|assistant|chatbot))?)\b,? ?"
    r"(?:i\b|my\b|developed|trained|created|it )"
    r"|\bi(?:'m| am) (?:just |only |merely )?an? (?:ai|artificial intelligence)(?: language)?"
    r" (?:model|assistant|chatbot)\b"
    r"|\b(?:i am|i'm|my name is) (?:chatgpt|claude|qwen|gemini|deepseek)\b"
    r"|\bi(?:'m| am| was) (?:an? )?[^.!?\n]{0,60}\b(?:developed|created|made|trained|built) by"
    r" (?:openai|anthropic|alibaba cloud|google|meta|mistral|deepseek)\b"
    r"|\bas of my (?:last|latest) (?:knowledge )?(?:update|training|cut-?off)\b|\bmy (?:knowledge|training) cut-?off\b"
    r"|\b(?:als|ich bin) (?:ein |eine )?(?:ki|künstliche intelligenz)[- ]?(?:sprachmodell|modell|assistent)\b"
    r"|\ben tant que modèle (?:de langage|d'ia)\b"
    r"|\bcomo (?:un )?modelo de (?:lenguaje|ia)\b|作为一个?(?:AI|人工智能)(?:语言)?模型|作为(?:一个)?大?型?语言模型",
    re.IGNORECASE,
)
_APOSTROPHE = str.maketrans("’ʼ", "''")
# What every match contains: quick looks spare the patterns on nearly all answers. Each hint contains one of the first
# ones, so that mostly those alone are looked for.
_FIRST = (
    "model",
    "an a",
    "chatgpt",
    "claude",
    "qwen",
    "gemini",
    "deepseek",
    "my la",
    "ki-as",
    "cutoff",
    "cut-off",
    " by ",
)
_HINTS = (
    *("language model", "an ai", "an artificial intel", "chatgpt", "claude", "qwen", "gemini", "deepseek"),
    *(" by openai", " by anthropic", " by alibaba", " by google", " by meta", " by mistral"),
    *("my last", "my latest", "cutoff", "cut-off", "modell", "ki-assistent", "modèle", "modelo", "模型"),
)
_FIRST_OPENINGS = (
    *("sorry", "apolog", "unfortunately", "'t", "not", "unable", "able to", "decline", "refuse", "nicht"),
    *("je ne", "lo siento", "抱歉", "对不起", "不好意思"),
)
_OPENINGS = (
    *("sorry", "apolog", "unfortunately", "can't", "cannot", "can not", "won't", "will not", "unable", "able to"),
    *("decline", "refuse", "nicht", "je ne", "lo siento", "抱歉", "对不起", "不好意思"),
)


def look(content: Content) -> Iterator[Finding]:
    """Findings in the answers that would be imitated: not the rejected ones, nor those with a thumb down."""
    if content.kind in {Kind.TEXT, Kind.PROMPT} or content.label is False:
        return
    for number, turn in enumerate(content.chosen):
        if turn.role == _ASSISTANT:
            yield from _answer(Text("chosen", number, turn.role, turn.content))


def _answer(text: Text) -> Iterator[Finding]:
    plain = text.text.translate(_APOSTROPHE) if not text.text.isascii() else text.text
    lower = plain.lower()
    opening = lower[:_OPENING_CHARACTERS]
    if _may_refuse(opening) and (found := _REFUSAL.search(plain[:_OPENING_CHARACTERS])):
        yield _finding(text, "the answer is a refusal", found)
    elif _may_speak_of_itself(lower) and (found := _SELF.search(plain)):
        yield _finding(text, "the answer speaks of itself as a language model", found)


def _may_speak_of_itself(lower: str) -> bool:
    if lower.isascii() and not any(map(lower.__contains__, _FIRST)):
        return False
    return any(map(lower.__contains__, _HINTS))


def _may_refuse(opening: str) -> bool:
    return any(map(opening.__contains__, _FIRST_OPENINGS)) and any(map(opening.__contains__, _OPENINGS))


def _finding(text: Text, reason: str, found: re.Match[str]) -> Finding:
    said = " ".join(found[0].split()).strip(" ,.")
    shown = said if len(said) <= 60 else said[:59] + "…"
    return Finding(Severity.WARNING, f"{reason} (“{shown}”)", text.place(found.start(), found.end()))


CHECK = RowCheck(
    "boilerplate",
    title="Refusals and boilerplate",
    summary="answers that refuse, or that speak as another company's model",
    look=look,
)
