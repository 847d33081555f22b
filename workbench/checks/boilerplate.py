"""Answers that refuse, or that speak as another company's model: what a model trained on them will say, too.

Only told, never mended: a refusal may be what somebody wants to teach.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from workbench.domain.chats import Role, Turn
from workbench.domain.checks import Finding, RowCheck, Severity, Text
from workbench.domain.examples import Content, Kind

if TYPE_CHECKING:
    from ahocorasick_rs import BytesAhoCorasick

_ASSISTANT = Role.ASSISTANT.value
_WITHOUT_ANSWER = frozenset((Kind.TEXT, Kind.PROMPT))
_OPENING_CHARACTERS = 240

# What one cannot or will not do in a refusal; of "help" not the one in "cannot help but".
_DEEDS = (
    r"(?:assist|help(?! but\b| noticing| wondering| feeling| thinking)|fulfil+|comply|engage in"
    r"|do (?:that|this)(?=[.!;]|\s*\Z)"
    r"|(?:answer|discuss|respond to|continue with|support|participate in) (?:that|this|such|your|the) "
    r"(?:kind of )?(?:request|question|topic|conversation|behavio)|in good conscience|feel comfortable"
    r"|(?:provide|offer|give|create|generate|write|produce|share)(?: you)?(?: with)? (?:any )?(?:\w+ ){0,3}?"
    r"(?:advice|assistance|guidance|instructions?|information|content|recommendations?|help|opinions?|diagnos\w+"
    r"|material|code|that|this|such)\b)"
)
# What a program has not, and a person may.
_LACKS = (
    r"have (?:access to|the ability to|the capability|enough (?:information|context|data)"
    r"|personal (?:opinions?|feelings?"
    r"|experiences?|preferences?|beliefs?)|real[- ]time)"
)
_CANNOT = (
    r"(?:can(?:'t|not| not)|could not|couldn't|won't|will not|am not able to|'m not able to|not able to|am unable to"
    r"|'m unable to|unable to|(?:won't|will not|'m not going to) be able to)"
)
# At the beginning of an answer; in the middle of a story somebody may well be unable to help.
_REFUSAL = re.compile(
    r"\A\W*(?:"
    r"(?:no, )?(?:(?:(?:i'?m|i am) (?:very |so |really |truly |terribly )?sorry|i apologi[sz]e|my apologies|sorry"
    r"|unfortunately|regrettably)\b[,.!:]?"
    r"(?: for (?:the|any) \w+[,.]?)? ?(?:but )?(?:as an? [\w ]{2,30}, ?)?)?"
    rf"(?:i ?{_CANNOT} (?:to )?(?:really |directly |possibly )?"
    rf"(?:be able to )?{_DEEDS}"
    rf"|we ?{_CANNOT} (?:assist|comply|fulfil+ (?:that|this|your) request))"
    rf"|(?:(?:i'?m|i am) (?:very |so )?sorry|i apologi[sz]e|sorry|unfortunately)\b,?"
    rf" ?(?:but )?i (?:don't|do not) {_LACKS}"
    r"|i (?:don't|do not) feel comfortable (?:\w+ing|with)\b"
    r"|i (?:must|have to|need to|will have to) (?:respectfully )?(?:decline|refuse)"
    r"|i(?:'d| would) (?:prefer|rather) not (?:to )?(?:discuss|answer|engage|talk about)"
    r"|(?:it|that) (?:would be|is|'s) (?:not appropriate|inappropriate|unethical) (?:for me )?to (?:provide|assist|help"
    r"|discuss|create|generate|share)"
    r"|(?:that's|this is|that is) (?:not something|something) i (?:can't|cannot|can|won't|am unable to) (?:help|assist)"
    r"|(?:es )?tut mir (?:sehr )?leid,? (?:aber )?(?:\w+,? ){0,5}?kann (?:ich )?[^.!?\n]{0,60}\bnicht\b"
    r"|(?:dabei|damit|das) kann ich (?:\w+ ){0,3}nicht (?:helfen|unterstützen|weiterhelfen|behilflich)"
    r"|ich kann (?:\w+ ){0,3}(?:dabei|damit|hierbei) (?:leider )?nicht (?:helfen|unterstützen|weiterhelfen|dienen)"
    r"|(?:je suis |désolée?,? )[^.!?\n]{0,40}je ne (?:peux|suis) pas (?:\w+ ){0,3}(?:aider|fournir|répondre|en mesure)"
    r"|je ne (?:peux|suis) pas (?:\w+ ){0,3}(?:vous aider|t'aider|en mesure de)"
    r"|lo siento,? (?:pero )?(?:\w+,? ){0,5}?no puedo (?:ayudar|proporcionar|cumplir|hacer|responder)"
    r"|(?:desculpe|desculpa|lamento|sinto muito|infelizmente),? (?:mas )?(?:\w+,? ){0,4}?não posso (?:te |lhe |o )?"
    r"(?:ajudar|fornecer|atender|responder|ajudá)"
    r"|(?:mi dispiace|spiacente|purtroppo),? (?:ma )?(?:\w+,? ){0,4}?non posso (?:aiutar|fornir|assister|risponder)"
    r"|(?:het spijt me|sorry|helaas),? (?:maar )?(?:\w+,? ){0,4}?kan (?:ik )?(?:\w+ ){0,5}niet (?:mee )?"
    r"(?:helpen|verstrekken|beantwoorden)"
    r"|(?:przepraszam|przykro mi|niestety),? (?:ale )?(?:\w+,? ){0,3}?nie mogę (?:\w+ ){0,3}?(?:pomóc|udzielić)"
    r"|(?:tyvärr|jag är ledsen|förlåt|beklager|desværre)\b[^.!?\n]{0,20}\b(?:jag|jeg) (?:kan|kan ikke|kan inte)\b"
    r"(?: inte| ikke)? (?:hjälpa|hjelpe|hjælpe)"
    r"|(?:извините|простите|к сожалению|сожалею|мне жаль),? (?:но )?(?:\w+,? ){0,3}?не могу (?:\w+ ){0,3}?"
    r"(?:помочь|предоставить|ответить|выполнить)"
    r"|(?:вибачте|на жаль|перепрошую),? (?:але )?(?:\w+,? ){0,3}?не можу (?:\w+ ){0,3}?(?:допомогти|надати)"
    r"|(?:üzgünüm|maalesef)[^.!?\n]{0,40}(?:yardımcı olamam|yardımcı olamıyorum|sağlayamam)"
    r"|(?:xin lỗi|rất tiếc)[^.!?\n]{0,30}tôi không thể (?:giúp|cung cấp|hỗ trợ|trả lời)"
    r"|(?:maaf),? (?:tetapi |tapi )?saya tidak (?:dapat|bisa) (?:membantu|memberikan)"
    r"|(?:آسف|عذر[اً]+|أعتذر|للأسف)[^.!؟\n]{0,30}لا (?:أستطيع|يمكنني)"
    r"|(?:क्षमा|माफ़|माफ|खेद)[^.।!?\n]{0,60}(?:मदद|सहायता)[^.।!?\n]{0,20}नहीं"
    r"|申し訳(?:ありません|ございません)[^。！？\n]{0,40}(?:できません|お手伝いでき|お答えでき|いたしかね)"
    r"|(?:죄송|미안)[^.!?\n]{0,40}(?:도와드릴 수 없|제공할 수 없|답변할 수 없|도움을 드릴 수 없|답변드릴 수 없)"
    r"|(?:很|非常)?(?:抱歉|对不起|不好意思|對不起)[^。！？\n]{0,12}(?:无法|不能|没办法|没有办法|無法)(?!保证|确定)"
    r")",
    re.IGNORECASE,
)
_SELF = re.compile(
    r"\bas an? (?:(?:large )?language model|(?:responsible )?ai(?: (?:language )?(?:model|assistant|chatbot))?)\b,? ?"
    r"(?:i\b|i'm|my\b|developed|trained|created|it is not|it's not|it would)"
    r"|\bi(?:'m| am) (?:just |only |merely |simply )?an? (?:ai|artificial intelligence|large)(?: language)?"
    r" (?:model|assistant|chatbot)\b"
    r"|\b(?:i am|i'm|my name is) (?:chatgpt|qwen|deepseek)\b"
    r"|\b(?:i am|i'm|my name is) (?:claude|gemini|llama|mistral|copilot|grok)\b,?[^.!?\n]{0,40}?"
    r"\b(?:ai|assistant|(?:language )?model|anthropic|google|meta|microsoft|xai)\b"
    r"|\bi(?:'m| am| was) (?:an? )?[^.!?\n]{0,60}\b(?:developed|created|made|trained|built) by"
    r" (?:openai|anthropic|alibaba cloud|google(?: ai| deepmind)?(?=[.,;!]|\s*\Z| to\b| and\b)"
    r"|meta(?: ai)?(?=[.,;!]|\s*\Z)"
    r"|mistral(?: ai)?|deepseek|xai)\b"
    r"|\bas of my (?:last|latest|most recent) (?:knowledge |training )?(?:update|training|data|cut-?off)\b"
    r"|\bmy (?:knowledge|training)(?: data)? (?:cut-?off|only goes)\b|\bmy training data (?:only )?(?:includes|goes)\b"
    r"|\b(?:als|ich bin)(?: nur)? (?:ein |eine )?(?:ki|künstliche intelligenz)[- ]?(?:sprachmodell|modell|assistent)\b"
    r"|\bals sprachmodell\b|\ben tant qu(?:e modèle (?:de langage|d'ia)|'ia|'assistant (?:virtuel|ia))\b"
    r"|\bcomo (?:un |um )?(?:modelo de (?:lenguaje|linguagem|ia)|asistente de ia|assistente de ia)\b"
    r"|\bin quanto (?:modello linguistico|ia|intelligenza artificiale)\b|\bcome modello linguistico\b"
    r"|\bals (?:een )?(?:ai-)?taalmodel\b|\bjako (?:model językowy|sztuczna inteligencja)\b"
    r"|как (?:языковая модель|искусственный интеллект)|як мовна модель|yapay zeka (?:dil )?modeli olarak"
    r"|AI言語モデルとして|大規模言語モデルとして|(?:AI|인공지능) 언어 모델(?:로서|이기|입니다)|كنموذج لغوي"
    r"|作为一个?(?:AI|人工智能)(?:语言)?(?:模型|助手)|作为(?:一个)?大?型?语言模型",
    re.IGNORECASE,
)
_APOSTROPHE = str.maketrans("’ʼ", "''")
# What every match of ``_SELF`` contains. One pass over a text tells whether any of them is in it, which spares the
# pattern on nearly all answers.
_MAKERS = ("openai", "anthropic", "alibaba", "google", "meta", "mistral", "deepseek", "xai")
_HINTS = (
    *("language model", "an ai", "a ai", "responsible ai", "artificial intel"),
    *("large model", "large assist", "large chat", "language assist", "language chat", "chatgpt", "claude"),
    *("qwen", "gemini", "deepseek", "llama", "mistral", "copilot", "grok", *(f"by {maker}" for maker in _MAKERS)),
    *("my knowledge", "my training", "as of my", "sprachmodell", "künstliche", "taalmodel", "yapay zeka"),
    *(f"ki{between}{what}" for between in ("", " ", "-") for what in ("modell", "assistent")),
    *("qu'ia", "qu'assist", "modèle", "modelo de", "istente de ia", "quanto ia", "quanto intel", "modello ling"),
    *("językow", "sztuczna", "языковая модель", "искусственный", "мовна модель", "モデルとして", "언어 모델"),
    *("نموذج", "模型", "助手"),
)


@cache
def _hints() -> BytesAhoCorasick:
    from ahocorasick_rs import BytesAhoCorasick, Implementation  # 3 ms

    return BytesAhoCorasick([hint.encode() for hint in _HINTS], implementation=Implementation.DFA)


def look(content: Content) -> Iterator[Finding]:
    """Findings in the answers that would be imitated: not the rejected ones, nor those with a thumb down."""
    if content.kind in _WITHOUT_ANSWER or content.label is False:
        return
    for number, turn in enumerate(content.chosen):
        if turn.role == _ASSISTANT:
            text = turn.content
            plain = text if text.isascii() else text.translate(_APOSTROPHE)
            if found := _REFUSAL.match(plain[:_OPENING_CHARACTERS]):
                yield _finding(turn, number, "the answer is a refusal", found)
            elif _hints().find_matches_as_indexes(plain.lower().encode("utf-8", "replace")) and (
                found := _SELF.search(plain)
            ):
                yield _finding(turn, number, "the answer speaks of itself as a language model", found)


def _finding(turn: Turn, number: int, reason: str, found: re.Match[str]) -> Finding:
    text = Text("chosen", number, turn.role, turn.content)
    said = " ".join(found[0].split()).strip(" ,.")
    shown = said if len(said) <= 60 else said[:59] + "…"
    return Finding(Severity.WARNING, f"{reason} (“{shown}”)", text.place(found.start(), found.end()))


CHECK = RowCheck(
    "boilerplate",
    title="Refusals and boilerplate",
    summary="answers that refuse, or that speak as another company's model",
    look=look,
)
