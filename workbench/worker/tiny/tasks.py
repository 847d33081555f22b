"""The sample sets that show tuning at work: tickets, preference pairs, thumbs, held-out chats, bare prompts.

Owns what a row of each set is (TRL's conversational forms) and that no prompt is in two sets. Standard library
only; knows nothing of models or of where the files go.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from workbench.worker.tiny.complaints import complaint
from workbench.worker.tiny.corpus import INTENTS, Message, Turn, Voice, ask, chat, complain
from workbench.worker.tiny.phrasing import normalised, typed
from workbench.worker.tiny.world import World

Row = dict[str, Any]

NO_HELP = ("I do not know.", "Sorry, no idea.", "Please ask somebody else.")
RAMBLING_INTENTS = tuple(intent for intent in INTENTS if "rambling" in intent.styles)


@dataclass
class SampleSets:
    """Draws rows whose prompts differ from every prompt drawn before, typing habits aside."""

    world: World
    seed: int
    _used: set[str] = field(default_factory=set)

    def tickets(self, count: int, *, heldout: bool) -> list[Row]:
        """A complaint, and its item, issue, order and action as JSON."""

        def draw(rng: random.Random) -> Row:
            case = complaint(self.world, rng, heldout=heldout)
            return {"prompt": user(typed(case.message, rng)), "completion": assistant(case.ticket())}

        return self._rows("tickets", count, draw, heldout=heldout)

    def polite_pairs(self, count: int, *, heldout: bool) -> list[Row]:
        """The same right answer twice: polite and concise chosen, rambling rejected."""

        def draw(rng: random.Random) -> Row:
            concise, rambling = self._two_answers(rng, heldout=heldout)
            return {
                "prompt": user(concise.user),
                "chosen": assistant(concise.assistant),
                "rejected": assistant(rambling.assistant),
            }

        return self._rows("polite", count, draw, heldout=heldout)

    def thumbs(self, count: int, *, heldout: bool) -> list[Row]:
        """Single answers with a label: polite ones true, rambling and unhelpful ones false."""

        def draw(rng: random.Random) -> Row:
            concise, rambling = self._two_answers(rng, heldout=heldout)
            label = rng.random() < 0.5
            unhelpful = rambling.assistant if rng.random() < 0.75 else rng.choice(NO_HELP)
            answer = concise.assistant if label else unhelpful
            return {"prompt": user(concise.user), "completion": assistant(answer), "label": label}

        return self._rows("thumbs", count, draw, heldout=heldout)

    def heldout_chats(self, count: int) -> list[Row]:
        """Chats in held-out phrasings with right, concise answers: what tuning should leave as it is."""

        def draw(rng: random.Random) -> Row:
            drawn = chat(self.world, rng, heldout=True, concise=True)
            return {"prompt": drawn.prompt(), "completion": drawn.completion()}

        return self._rows("heldout", count, draw, heldout=True)

    def prompts(self, count: int) -> list[Row]:
        """Bare questions in held-out phrasings, the intents in turn, to compare two models on."""
        order = iter(range(1_000_000))

        def draw(rng: random.Random) -> Row:
            index = next(order)
            voice = Voice("plain", heldout=True)
            if index % 10 == 9:
                return {"prompt": user(complain(self.world, rng, voice=voice).user)}
            return {"prompt": user(ask(self.world, INTENTS[index % len(INTENTS)], rng, voice=voice).user)}

        return self._rows("prompts", count, draw, heldout=True)

    def _two_answers(self, rng: random.Random, *, heldout: bool) -> tuple[Turn, Turn]:
        """One question with the same right answer twice: concise, and polite where that fits; then rambling."""
        seed = rng.getrandbits(64)
        intent = rng.choices(RAMBLING_INTENTS, [intent.weight for intent in RAMBLING_INTENTS])[0]
        complains = rng.random() < 0.05
        concise, rambling = (
            complain(self.world, random.Random(seed), voice=Voice(style, heldout, inventive=False))
            if complains
            else ask(self.world, intent, random.Random(seed), voice=Voice(style, heldout, inventive=False))
            for style in ("polite", "rambling")
        )
        return concise, rambling

    def _rows(self, name: str, count: int, draw: Callable[[random.Random], Row], *, heldout: bool) -> list[Row]:
        rng = random.Random(f"{name}-{self.seed}-{heldout}")
        rows: list[Row] = []
        while len(rows) < count:
            row = draw(rng)
            key = normalised(row["prompt"][-1]["content"])
            if key not in self._used:
                self._used.add(key)
                rows.append(row)
        return rows


def user(content: str) -> list[Message]:
    """A prompt of one turn."""
    return [{"role": "user", "content": content}]


def assistant(content: str) -> list[Message]:
    """A completion of one turn."""
    return [{"role": "assistant", "content": content}]


def sample_sets(world: World, seed: int = 7) -> dict[str, list[Row]]:
    """Every sample set by its file's name; evaluation sets use held-out phrasings alone."""
    draw = SampleSets(world, seed)
    return {
        "heldout": draw.heldout_chats(200),
        "prompts": draw.prompts(40),
        "tickets-eval": draw.tickets(60, heldout=True),
        "polite-eval": draw.polite_pairs(60, heldout=True),
        "thumbs-eval": draw.thumbs(40, heldout=True),
        "tickets": draw.tickets(300, heldout=False),
        "polite": draw.polite_pairs(300, heldout=False),
        "thumbs": draw.thumbs(200, heldout=False),
    }
