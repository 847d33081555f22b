"""In which language rows are written, and answers in another language than their question.

Languages are told by py3langid, on letters only and only where it is sure. Of short texts, which it cannot tell, the
letters themselves are looked at: English words that are answered in Chinese characters need no statistics.
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
# Letters that tell much of the language, with what they are called. Latin ones stand in texts of every language.
_LATIN = "Latin letters"
_SCRIPTS = {
    "Chinese or Japanese characters": re.compile(r"[\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"),
    "Korean letters": re.compile(r"[\u1100-\u11ff\uac00-\ud7af]"),
    "Cyrillic letters": re.compile(r"[\u0400-\u052f]"),
    "Arabic letters": re.compile(r"[\u0620-\u064a\u066e-\u06d3\u0750-\u077f]"),
    "Hebrew letters": re.compile(r"[\u05d0-\u05ea]"),
    "Greek letters": re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]"),
    "Devanagari letters": re.compile(r"[\u0900-\u097f]"),
    "Thai letters": re.compile(r"[\u0e00-\u0e7f]"),
}
# Names and terms are written in Latin letters everywhere: some words must be plain ones.
_PLAIN_WORD = re.compile(r"(?<![^\W\d_])[a-zß-öø-ÿ]+(?![^\W\d_])")
_CODE_SIGNS = re.compile(r"[{}=<>;\\_|$]|\w\(|://")
_FEWEST_PLAIN_WORDS, _FEWEST_OTHER_LETTERS = 3, 2
_MOSTLY = 0.8


def look(rows: Iterable[CheckedRow], surroundings: Surroundings) -> Iterator[Finding | Language]:
    """The language of every answer that is sure, a finding for each that differs, and the mix of each dataset."""
    detect = _detector()
    mix: dict[str, Counter[str]] = {}
    for row in rows:
        answer = "\n".join(turn.content for turn in row.content.chosen)
        if code := detect(_plain(answer)):
            yield Language(row.id, code)
            mix.setdefault(row.dataset, Counter())[code] += 1
        if reason := _other_language(row, answer, code, detect):
            yield Finding(Severity.WARNING, reason, "chosen turn 1", example_id=row.id)
    for dataset, languages in mix.items():
        yield from _told(dataset, languages)


def _other_language(row: CheckedRow, answer: str, code: str, detect: Callable[[str], str]) -> str:
    prompt = "\n".join(turn.content for turn in row.content.prompt)
    asked = next((t.content for t in reversed(row.content.prompt) if t.role == Role.USER.value), "")
    question = detect(_plain(asked))
    if not question or not code:
        told = _other_script(asked, answer)
        return "" if _NAMES_A_LANGUAGE.search(prompt) else told
    if question == code or any({question, code} <= family for family in _FAMILIES):
        return ""
    if _NAMES_A_LANGUAGE.search(prompt) or any(detect(_plain(part)) == code for part in _PARAGRAPHS.split(asked)):
        return ""  # asked for, or asked in that language about a passage in another
    return f"the question is in {question!r}, the answer in {code!r}"


def _other_script(asked: str, answer: str) -> str:
    question, other = _script(asked), _script(answer)
    if not question or not other or question == other or (other != _LATIN and _SCRIPTS[other].search(asked)):
        return ""
    return f"the question is in {question}, the answer in {other}"


def _script(text: str) -> str:
    """In which letters nearly all of a text is written; "" when that is not plain, or when there may be code in it."""
    start = _CODE.sub(" ", text[:_CHARACTERS])
    letters = sum(c.isalpha() for c in start)
    if not letters or _CODE_SIGNS.search(start):
        return ""
    for name, script in _SCRIPTS.items() if not start.isascii() else ():
        if (count := len(script.findall(start))) >= max(_FEWEST_OTHER_LETTERS, _MOSTLY * letters):
            return name
        letters -= count
    words = _PLAIN_WORD.findall(start)
    return _LATIN if len(words) >= _FEWEST_PLAIN_WORDS and sum(map(len, words)) >= _MOSTLY / 2 * letters else ""


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
