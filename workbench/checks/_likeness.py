"""When two texts are the same, or nearly: normal forms and shingles, for the checks that compare rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from zlib import crc32

from workbench.domain.chats import Role, Turn
from workbench.domain.examples import Content

WORDS_PER_SHINGLE = 3
_CHARACTERS_PER_SHINGLE = 6
_LONG_WORD = 16
_WORD = re.compile(r"\w+")


def normal(text: str) -> str:
    """The text without what does not change its sense: case, and how it is spaced."""
    return " ".join(text.casefold().split())


def said(turns: Iterable[Turn]) -> str:
    """What is said in these turns, by whom, in normal form; a system turn only sets the scene and is left out."""
    return "\x1e".join(f"{t.role}\x1f{normal(t.content)}{t.extra}" for t in turns if t.role != Role.SYSTEM.value)


def digest(*texts: str) -> bytes:
    """Sixteen bytes that are equal for equal texts."""
    return blake2b("\x1d".join(texts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def prompt_key(turns: Iterable[Turn]) -> bytes:
    """Equal for prompts that ask the same."""
    return digest(said(turns))


def whole_text(content: Content) -> str:
    """What a row teaches: its prompt without the system turn, and its answers."""
    turns = (*content.prompt, *content.chosen, *content.rejected)
    return "\n".join(t.content for t in turns if t.role != Role.SYSTEM.value)


def shingles(text: str) -> set[int]:
    """The text's runs of three words as 32-bit numbers; runs of six characters where words are not spaced."""
    words = _WORD.findall(text.casefold())
    if sum(map(len, words)) > _LONG_WORD * len(words):
        letters = "".join(words)
        return _hashed(letters, _CHARACTERS_PER_SHINGLE, "")
    return _hashed(words, WORDS_PER_SHINGLE, " ")


def _hashed(parts: Sequence[str], size: int, space: str) -> set[int]:
    count = max(1, len(parts) - size + 1) if parts else 0
    return {crc32(space.join(parts[i : i + size]).encode("utf-8", "surrogatepass")) for i in range(count)}


def likeness(one: set[int], other: set[int]) -> float:
    """Jaccard: the shared part of all shingles, 0 to 1."""
    return len(one & other) / len(one | other) if one or other else 1.0
