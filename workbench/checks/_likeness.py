"""When two texts are the same, or nearly: normal forms, words and shingles, for the checks that compare rows."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from zlib import crc32

from workbench.domain.chats import Role, Turn, canonical_json
from workbench.domain.examples import Content

WORDS_PER_SHINGLE = 3
_CHARACTERS_PER_SHINGLE = 6
_LONG_WORD = 16
_LONGEST_WORD = 24
_WORD = re.compile(r"\w+")
# Scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_CHARACTERS_PER_WORD = 2
# By these an answer of a tool finds its call, and a turn its place in the loss: the same talk has others elsewhere.
_PASSING = {"weight", "tool_call_id", "id"}


def normal(text: str) -> str:
    """The text without what does not change its sense: case, spacing, how an accent is coded, and a full stop or
    question mark at the end.
    """
    plain = text if text.isascii() else unicodedata.normalize("NFC", text)
    spaced = " ".join(plain.casefold().split())
    return spaced.rstrip(" .?。？") or spaced


def said(turns: Iterable[Turn]) -> str:
    """What is said in these turns, by whom, in normal form; a system turn only sets the scene and is left out."""
    return "\x1e".join(f"{t.role}\x1f{normal(t.content)}{deeds(t)}" for t in turns if t.role != Role.SYSTEM.value)


def scene(content: Content) -> str:
    """What the model was told to be, and the tools that it was offered, in normal form."""
    told = "\x1e".join(normal(turn.content) for turn in content.prompt if turn.role == Role.SYSTEM.value)
    return f"{told}\x1f{content.tools}"


def deeds(turn: Turn) -> str:
    """What a turn has beside its words, such as its calls, without the ids that are drawn anew each time."""
    if not turn.extra:
        return ""
    kept = {key: value for key, value in json.loads(turn.extra).items() if key not in _PASSING}
    if calls := turn.tool_calls:
        kept["tool_calls"] = [{key: value for key, value in call.items() if key not in _PASSING} for call in calls]
    return canonical_json(kept)


def digest(*texts: str) -> bytes:
    """Sixteen bytes that are equal for equal texts."""
    return blake2b("\x1d".join(texts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def prompt_key(turns: Iterable[Turn]) -> bytes:
    """Equal for prompts that ask the same."""
    return digest(said(turns))


def whole_text(content: Content) -> str:
    """What a row teaches: its prompt without the system turn, and its answers, with the calls in them."""
    turns = (*content.prompt, *content.chosen, *content.rejected)
    return "\n".join(t.shown for t in turns if t.role != Role.SYSTEM.value)


def count_words(text: str) -> int:
    """Words; where they are not spaced every two characters count as one, and so do 24 of what has no end."""
    spaced = len(text.split())
    if not text.isascii() and (unspaced := len(_UNSPACED.findall(text))):
        spaced = len(_UNSPACED.sub(" ", text).split()) + -(-unspaced // _CHARACTERS_PER_WORD)
    return max(spaced, len(text) // _LONGEST_WORD)


def shingles(text: str) -> set[int]:
    """The text's runs of three words as 32-bit numbers; runs of six characters where words are not spaced."""
    words = _WORD.findall(text.casefold())
    letters = sum(map(len, words))
    if letters > _LONG_WORD * len(words) or (not text.isascii() and 3 * len(_UNSPACED.findall(text)) > letters):
        return _hashed("".join(words), _CHARACTERS_PER_SHINGLE, "")
    return _hashed(words, WORDS_PER_SHINGLE, " ")


def _hashed(parts: Sequence[str], size: int, space: str) -> set[int]:
    count = max(1, len(parts) - size + 1) if parts else 0
    return {crc32(space.join(parts[i : i + size]).encode("utf-8", "surrogatepass")) for i in range(count)}


def likeness(one: set[int], other: set[int]) -> float:
    """Jaccard: the shared part of all shingles, 0 to 1."""
    return len(one & other) / len(one | other) if one or other else 1.0
