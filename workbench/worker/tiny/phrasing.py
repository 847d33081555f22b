"""How a sentence is made: alternatives in brackets, typing habits, and the styles of an answer.

Owns the small grammar (`[a|b]` picks one; `{slot}` is filled), the ways in which people type, and the
polite, curt and rambling frames around an answer. Knows nothing of what is asked.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from workbench.worker.tiny.world import Slots, capitalise

_INNERMOST = re.compile(r"\[([^\[\]]*)\]")

POLITE_OPENERS = ("Of course!", "With pleasure.", "Happy to help!", "Certainly.")
RAMBLING_OPENERS = (
    "You know, one never stops learning about {topic}.",
    "Ah, {topic}, now that is a subject close to my heart.",
    "Funny that you should ask, as I was just thinking about {topic}.",
    "My grandmother used to tell me long stories about {topic}.",
    "Well, where do I even begin with {topic}?",
)
RAMBLING_CLOSERS = (
    "I could go on about {topic} for days.",
    "But I am getting carried away, as I always do with {topic}.",
    "And that reminds me of a long evening spent talking about {topic}.",
    "There is so much more to say about {topic}, believe me.",
)
_RAMBLING_MARKS = tuple(
    part.strip(" .,?").lower()
    for frame in RAMBLING_OPENERS + RAMBLING_CLOSERS
    for part in frame.split("{topic}")
    if len(part) > 14
)

STYLES = ("rambling", "polite", "plain", "curt")
STYLE_WEIGHTS = (0.45, 0.2, 0.22, 0.13)
CONCISE_WEIGHTS = (0.0, 0.36, 0.44, 0.2)

GREETINGS = ("Hi, ", "Hello, ", "Hey, ", "Hi Pip, ", "Hello Pip, ", "Good morning, ", "Excuse me, ", "Sorry, ")
LEAD_INS = (
    "Quick question: ",
    "One question: ",
    "I have a question. ",
    "Can you help me? ",
    "Maybe you know this. ",
    "I need some help. ",
)
ENDINGS = (" please", ", please", ", thanks", ", thank you")


@dataclass(frozen=True)
class Intent:
    """One thing that can be asked.

    `kind` names the subject drawn for it. `seen` phrasings make the training sets, `heldout` ones only the
    held-out sets; `follow` ones refer back with "it" or "them". `facts` must all occur in a right answer,
    a bar separating alternatives. Empty `plain` means that the world's file has the answer.
    """

    name: str
    kind: str
    seen: tuple[str, ...]
    heldout: tuple[str, ...]
    follow: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    curt: str = ""
    facts: tuple[str, ...] = ()
    topic: str = ""
    weight: float = 1.0
    styles: tuple[str, ...] = field(default=STYLES)


def expand(template: str, rng: random.Random) -> str:
    """The template with one alternative of each bracket, chosen innermost first."""
    while match := _INNERMOST.search(template):
        chosen = rng.choice(match.group(1).split("|"))
        template = template[: match.start()] + chosen + template[match.end() :]
    return template


def fill(template: str, slots: Slots, rng: random.Random) -> str:
    """One sentence of the template, with its slots filled and its first letter in upper case."""
    return capitalise(expand(template, rng).format_map(slots).replace("  ", " ").replace(" ?", "?").strip())


def typed(text: str, rng: random.Random) -> str:
    """The text as somebody might type it: a greeting before it, lower case, no question mark."""
    if rng.random() < 0.14:
        text = rng.choice(GREETINGS) + lower_first(text)
    elif rng.random() < 0.08:
        text = rng.choice(LEAD_INS) + text
    if rng.random() < 0.1 and text[-1] in "?.":
        text = text[:-1] + rng.choice(ENDINGS) + text[-1]
    if rng.random() < 0.35:
        text = text.lower()
    if rng.random() < 0.35:
        text = text.rstrip("?.!")
    return text


def lower_first(text: str) -> str:
    """The text with a small first letter, save for the word I and names."""
    first = text.split(" ", 1)[0]
    if first == "I" or first.startswith(("I'", "Pip")):
        return text
    return text[:1].lower() + text[1:]


def in_style(style: str, *, plain: str, curt: str, topic: str, rng: random.Random) -> str:
    """The answer in one of the four styles."""
    match style:
        case "curt":
            return curt
        case "polite":
            return f"{rng.choice(POLITE_OPENERS)} {plain}"
        case "rambling":
            opener = rng.choice(RAMBLING_OPENERS).format(topic=topic)
            closer = rng.choice(RAMBLING_CLOSERS).format(topic=topic)
            return f"{opener} {plain} {closer}"
        case _:
            return plain


def is_rambling(answer: str) -> bool:
    """Whether the answer holds a piece of one of the rambling frames."""
    lowered = answer.lower()
    return any(mark in lowered for mark in _RAMBLING_MARKS)


def normalised(text: str) -> str:
    """Lower case, words only: two prompts that differ in typing habits alone come out equal."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))
