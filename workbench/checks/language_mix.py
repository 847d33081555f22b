"""In which language rows are written, and answers in another language than their question.

Languages are told by py3langid, on letters only and only where it is sure: of short texts it says nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from workbench.domain.chats import Role
from workbench.domain.checks import CheckedRow, Finding, Language, SetCheck, Severity, Surroundings

SURE = 0.95
"""Probability from which the language of a text is taken as known."""

_FEWEST_LETTERS = 40
_CHARACTERS = 1500
_WORTH_TELLING = 0.01
_FEWEST_ROWS = 3
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|<[^<>\n]{1,80}>", re.DOTALL)
_FIGURES = re.compile(r"[\d\W_]+")
_PARAGRAPHS = re.compile(r"\n\s*\n|(?<=:)\n")
# A question that names a language may well be answered in it.
_NAMES_A_LANGUAGE = re.compile(
    r"translat|translit|language|lyrics|poem|haiku|transcri|\bin \w+ese\b|\b(?:english|french|german|spanish|italian|"
    r"portuguese|dutch|russian|chinese|mandarin|cantonese|japanese|korean|arabic|hindi|turkish|polish|swedish|norwegian|"
    r"danish|finnish|greek|hebrew|latin|vietnamese|thai|indonesian|malay|persian|farsi|urdu|bengali|tamil|ukrainian|"
    r"czech|hungarian|romanian|catalan|welsh|irish|swahili|esperanto|klingon)|übersetz|auf (?:deutsch|englisch)|"
    r"tradui|traduc|traduz|tradur|vertaal|翻译|翻訳|번역|перевод|перевед|英语|中文|英文|日本語|français|español|deutsch|"
    r"anglais|allemand|espagnol|inglés|francés|alemán|englisch|französisch|inglese|tedesco|inglês|英語|영어|английск|немецк",
    re.IGNORECASE,
)
# Languages so close to each other that telling them apart is not worth a person's time.
_FAMILIES = (
    *({"no", "nb", "nn", "da"}, {"hr", "sr", "bs", "sh"}, {"id", "ms", "jv"}, {"cs", "sk"}, {"pt", "gl"}),
    *({"es", "ca", "an", "ast", "oc"}, {"nl", "af"}, {"de", "lb", "als"}, {"en", "pcm", "sco"}, {"hi", "ne", "mr"}),
    *({"zh", "wuu", "yue", "zh-tw"}, {"uk", "ru", "be"}, {"az", "tr"}, {"ar", "arz", "fa", "ur", "ps"}),
)


def look(rows: Iterable[CheckedRow], surroundings: Surroundings) -> Iterator[Finding | Language]:
    """The language of every answer that is sure, a finding for each that differs, and the mix of each dataset."""
    detect = _detector()
    mix: dict[str, Counter[str]] = {}
    for row in rows:
        code = detect(_plain("\n".join(turn.content for turn in row.content.chosen)))
        if not code:
            continue
        yield Language(row.id, code)
        mix.setdefault(row.dataset, Counter())[code] += 1
        if reason := _other_language(row, code, detect):
            yield Finding(Severity.WARNING, reason, "chosen turn 1", example_id=row.id)
    for dataset, languages in mix.items():
        yield from _told(dataset, languages)


def _other_language(row: CheckedRow, code: str, detect: Callable[[str], str]) -> str:
    prompt = "\n".join(turn.content for turn in row.content.prompt)
    asked = next((t.content for t in reversed(row.content.prompt) if t.role == Role.USER.value), "")
    question = detect(_plain(asked))
    if not question or question == code or any({question, code} <= family for family in _FAMILIES):
        return ""
    if _NAMES_A_LANGUAGE.search(prompt) or any(detect(_plain(part)) == code for part in _PARAGRAPHS.split(asked)):
        return ""  # asked for, or asked in that language about a passage in another
    return f"the question is in {question!r}, the answer in {code!r}"


def _told(dataset: str, languages: Counter[str]) -> Iterator[Finding]:
    total = languages.total()
    shares = [
        f"{code} {count / total:.0%}"
        for code, count in languages.most_common(8)
        if count >= max(_FEWEST_ROWS, _WORTH_TELLING * total)
    ]
    if len(shares) > 1:
        reason = f"{dataset}: the answers mix languages ({', '.join(shares)}); lang:{_second(languages)} finds some"
        yield Finding(Severity.INFO, reason)


def _second(languages: Counter[str]) -> str:
    return languages.most_common(2)[1][0]


def _plain(text: str) -> str:
    """The letters of a text; empty when there are too few of them to tell a language, or when it is mostly code."""
    start = text[:_CHARACTERS]
    letters = _FIGURES.sub(" ", _CODE.sub(" ", start)).strip()
    return letters if len(letters) >= max(_FEWEST_LETTERS, len(start) // 3) or not start.isascii() else ""


@cache
def _detector() -> Callable[[str], str]:
    """A function from a text to its language, or to nothing when that is not sure."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # loads numpy; 1 s with the model

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def detect(text: str) -> str:
        if sum(c.isalpha() for c in text) < _FEWEST_LETTERS // (1 if text.isascii() else 4):
            return ""
        code, probability = identifier.classify(text)
        return str(code) if probability >= SURE and code != "zxx" else ""

    return detect


CHECK = SetCheck(
    "language_mix",
    title="Languages",
    summary="answers in another language than their question, and the mix of languages",
    look=look,
    in_child=True,
)
