"""Complaints about an item: what is wrong, which order, what should be done.

Owns the wording of complaints in seen and held-out phrasings, the assistant's answer in English, and the
four fields that the ticket task asks for. Knows nothing of chats, files or models.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from workbench.worker.tiny.phrasing import fill
from workbench.worker.tiny.world import World, capitalise

ISSUES: dict[str, tuple[str, ...]] = {
    "broken": (
        "is broken",
        "does not work",
        "came in pieces",
        "fell apart",
        "broke on the first day",
        "was broken",
        "does not work any more",
        "is in pieces",
    ),
    "late": (
        "has not arrived",
        "is late",
        "still has not come",
        "is not here yet",
        "is very late",
        "did not arrive",
        "has still not arrived",
    ),
    "scratched": (
        "is scratched",
        "has scratches",
        "has a big scratch on it",
        "has a scratch",
        "was scratched",
        "came with scratches",
    ),
    "wrong colour": (
        "has the wrong colour",
        "came in the wrong colour",
        "is not the colour I ordered",
        "has another colour",
        "arrived in the wrong colour",
        "does not have the right colour",
    ),
    "missing part": (
        "has a part missing",
        "is not complete",
        "lacks a part",
        "came without a part",
        "is missing a piece",
        "has a missing part",
    ),
}
ISSUES_HELDOUT: dict[str, tuple[str, ...]] = {
    "broken": ("arrived broken", "was in pieces", "did not work"),
    "late": ("has not come yet", "is still not here", "is too late"),
    "scratched": ("is full of scratches", "arrived with a scratch", "came scratched"),
    "wrong colour": ("is the wrong colour", "is in the wrong colour", "is not the right colour"),
    "missing part": ("came with a missing part", "is missing a part", "came with a part missing"),
}
ACTIONS: dict[str, tuple[str, ...]] = {
    "refund": (
        "I want my money back.",
        "Please refund me.",
        "I would like a refund.",
        "Give me my money back.",
        "I want a refund.",
        "Please send my money back.",
    ),
    "replace": (
        "Please send a new one.",
        "I want a new one.",
        "Please replace it.",
        "I would like a replacement.",
        "Can I have a new one?",
        "Send me another one.",
    ),
    "repair": (
        "Please repair it.",
        "Can you fix it?",
        "I want it repaired.",
        "Please fix it.",
        "Can you repair it?",
        "I would like a repair.",
    ),
    "cancel": (
        "Please cancel the order.",
        "I want to cancel.",
        "Cancel it.",
        "I would like to cancel it.",
        "Please cancel it.",
    ),
    "call": (
        "Please call me.",
        "I want a call.",
        "Can somebody call me?",
        "Call me back.",
        "I would like a call.",
    ),
}
ACTIONS_HELDOUT: dict[str, tuple[str, ...]] = {
    "refund": ("Can I get a refund?", "Please give me my money back.", "I need a refund."),
    "replace": ("Can you replace it?", "Please send me a new one.", "I need a replacement."),
    "repair": ("Could you repair it?", "I want you to fix it.", "I need a repair."),
    "cancel": ("Can you cancel it?", "I want to cancel the order.", "Cancel the order."),
    "call": ("Could somebody call me?", "Please call me back.", "I want you to call me."),
}
FRAMES = (
    "[My|The] {item} {issue}. [My order is|The order is|It is order|Order|The order number is] {order}. {action}",
    "Order {order}: [the|my] {item} {issue}. {action}",
    "[The|My] {item} from order {order} {issue}. {action}",
    "[Hello, |Hi, ][my|the] {item} {issue}. {action} [My order is|It is order|The number is] {order}.",
    "{action} [The|My] {item} {issue}. [My order is|Order|The order number is] {order}.",
    "I [bought|ordered] {an_item} and it {issue}. [My order is|The order is|Order] {order}. {action}",
    "[My|The] {item} {issue} (order {order}). {action}",
    "I have a problem with order {order}. The {item} {issue}. {action}",
)
FRAMES_HELDOUT = (
    "[The|My] {item} in order {order} {issue}. {action}",
    "I am writing about order {order}. My {item} {issue}. {action}",
    "I got {an_item} from you and it {issue}. {action} The order number is {order}.",
    "{action} It is about order {order}. The {item} {issue}.",
)
_ISSUE_SAID = {
    "broken": "is broken",
    "late": "is late",
    "scratched": "is scratched",
    "wrong colour": "has the wrong colour",
    "missing part": "has a missing part",
}
_ACTION_SAID = {
    "refund": "a refund",
    "replace": "a replacement",
    "repair": "a repair",
    "cancel": "a cancellation",
    "call": "a call",
}


@dataclass(frozen=True)
class Complaint:
    """A complaint as typed, with its four fields."""

    message: str
    item: str
    issue: str
    order: str
    action: str

    def ticket(self) -> str:
        """The four fields as one line of JSON, in a fixed order."""
        return json.dumps({"item": self.item, "issue": self.issue, "order": self.order, "action": self.action})

    def answer(self) -> str:
        """What the untuned assistant says."""
        return (
            f"I am sorry that your {self.item} {_ISSUE_SAID[self.issue]}. "
            f"I have noted order {self.order} and asked for {_ACTION_SAID[self.action]}."
        )

    def facts(self) -> tuple[str, ...]:
        """What a right answer must contain."""
        return (self.item, _ISSUE_SAID[self.issue], self.order, _ACTION_SAID[self.action])


def order_number(rng: random.Random) -> str:
    """Four to six digits, the first not zero."""
    digits = rng.choice((4, 5, 5, 6, 6))
    return str(rng.randrange(10 ** (digits - 1), 10**digits))


def complaint(world: World, rng: random.Random, *, heldout: bool = False) -> Complaint:
    """A complaint about an item; held out means its frame and its phrasings are in no training set."""
    item, order = rng.choice(world.items), order_number(rng)
    issue, action = rng.choice(tuple(ISSUES)), rng.choice(tuple(ACTIONS))
    issues, actions, frames = (
        (ISSUES_HELDOUT, ACTIONS_HELDOUT, FRAMES_HELDOUT) if heldout else (ISSUES, ACTIONS, FRAMES)
    )
    slots = item.slots() | {"issue": rng.choice(issues[issue]), "action": rng.choice(actions[action]), "order": order}
    message = ". ".join(capitalise(part) for part in fill(rng.choice(frames), slots, rng).split(". "))
    return Complaint(message, item.name, issue, order, action)
