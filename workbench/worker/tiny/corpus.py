"""Chats about the invented world, drawn from a seed.

Owns which intent is asked about which subject, how turns follow each other, and which facts a right answer
holds. Standard library only; knows nothing of tokens, models or files.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.worker.tiny.complaints import ACTIONS, ISSUES, complaint, order_number
from workbench.worker.tiny.intents_food import DISH_INTENTS, INGREDIENT_INTENTS
from workbench.worker.tiny.intents_shop import ITEM_INTENTS, SHOP_INTENTS
from workbench.worker.tiny.intents_talk import (
    NAME_NOT_TOLD,
    NAME_RECALL,
    NAME_RECALL_ANSWERS,
    ORDER_RECALL,
    ORDER_RECALL_ANSWERS,
    TALK_INTENTS,
)
from workbench.worker.tiny.phrasing import (
    CONCISE_WEIGHTS,
    STYLE_WEIGHTS,
    STYLES,
    Intent,
    expand,
    fill,
    in_style,
    typed,
)
from workbench.worker.tiny.world import Dish, Ingredient, Item, Slots, World, capitalise

Message = dict[str, str]

SYSTEMS: tuple[tuple[str, str | None], ...] = (
    ("You are Pip.", None),
    ("You are Pip, the assistant of a kitchen shop.", None),
    ("You are a helpful assistant.", None),
    ("Answer briefly.", "curt"),
    ("Be polite.", "polite"),
    ("Answer in one sentence.", "plain"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
TURN_COUNTS, TURN_WEIGHTS = (1, 2, 3, 4, 5), (0.5, 0.25, 0.13, 0.08, 0.04)
_ONSETS = (*"bcdfghjklmnprstvwz", "br", "ch", "cl", "dr", "fl", "gr", "kr", "pl", "sh", "sl", "st", "th", "tr")
_VOWELS = (*"aaeeiioouuy", "ai", "ea", "ee", "ia", "ie", "oo", "ou")
_CODAS = ("", "", "", *"nrlstdmkpbx", "ck", "ll", "nd", "nn", "rd", "rt", "ss", "st")
_GROUPS = (
    (INGREDIENT_INTENTS, 1.0),
    (DISH_INTENTS, 1.0),
    (ITEM_INTENTS, 1.0),
    (SHOP_INTENTS, 0.6),
    (TALK_INTENTS, 0.6),
)

INTENTS: tuple[Intent, ...] = tuple(intent for group, _ in _GROUPS for intent in group)
_WEIGHTS = tuple(intent.weight * share for group, share in _GROUPS for intent in group)
_COMPLAINT_SHARE = 0.07
_COPYING = ("copy", "unknown_food", "unknown_item", "unknown_topic")
_FOLLOWING = {
    "ingredient": tuple(intent for intent in INGREDIENT_INTENTS if intent.follow),
    "dish": tuple(intent for intent in DISH_INTENTS if intent.follow),
    "item": tuple(intent for intent in ITEM_INTENTS if intent.follow),
}


@dataclass(frozen=True)
class Turn:
    """One question with its answer; `facts` must all occur in a right answer, a bar separating alternatives."""

    intent: str
    user: str
    assistant: str
    facts: tuple[str, ...]
    subject: Ingredient | Dish | Item | None = None


@dataclass(frozen=True)
class Chat:
    """A whole conversation, with or without a system turn."""

    turns: tuple[Turn, ...]
    system: str | None = None

    def messages(self) -> list[Message]:
        """The chat as role and content, in order."""
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for turn in self.turns:
            messages.append({"role": "user", "content": turn.user})
            messages.append({"role": "assistant", "content": turn.assistant})
        return messages

    def prompt(self) -> list[Message]:
        """Everything before the last answer."""
        return self.messages()[:-1]

    def completion(self) -> list[Message]:
        """The last answer alone."""
        return self.messages()[-1:]


@dataclass(frozen=True)
class PlainText:
    """A document that is no chat; the loss covers `text`, not `given`."""

    given: str
    text: str


@dataclass(frozen=True)
class Voice:
    """How a chat sounds: the answers' style, whether held-out phrasings are asked, whether words are invented.

    `copying` multiplies the share of questions where unknown words must be copied.
    """

    style: str
    heldout: bool = False
    inventive: bool = True
    copying: float = 1.0


def holds_facts(answer: str, facts: tuple[str, ...]) -> bool:
    """Whether each fact, or one of its alternatives, occurs in the answer, in any case."""
    lowered = answer.lower()
    return all(any(option in lowered for option in fact.lower().split("|")) for fact in facts)


def draw_intent(rng: random.Random, *, copying: float = 1.0) -> Intent:
    """An intent by its weight in the corpus; `copying` multiplies those where unknown words must be copied."""
    weights = [weight * copying if i.kind in _COPYING else weight for i, weight in zip(INTENTS, _WEIGHTS, strict=True)]
    return rng.choices(INTENTS, weights)[0]


def ask(
    world: World, intent: Intent, rng: random.Random, *, voice: Voice, subject: Ingredient | Dish | Item | None = None
) -> Turn:
    """One question of this intent with its answer; a subject given is referred to with "it" or "them"."""
    templates = intent.follow if subject else intent.heldout if voice.heldout else intent.seen
    subject, slots = _subject(world, intent, rng, given=subject, voice=voice)
    question = fill(rng.choice(templates), slots, rng)
    question = _typed_copy(question, rng) if intent.kind == "copy" else typed(question, rng)
    plain, curt, topic, facts = _answer_parts(world, intent)
    assistant = in_style(
        voice.style if voice.style in intent.styles else "plain",
        plain=fill(rng.choice(plain), slots, rng),
        curt=fill(curt, slots, rng),
        topic=topic.format_map(slots),
        rng=rng,
    )
    return Turn(intent.name, question, assistant, tuple(fact.format_map(slots) for fact in facts), subject)


def complain(world: World, rng: random.Random, *, voice: Voice) -> Turn:
    """A complaint, answered in English with what is wrong, the order and what will be done."""
    case = complaint(world, rng, heldout=voice.heldout)
    style = voice.style if voice.style in ("rambling", "polite") else "plain"
    answer = case.answer()
    if style == "rambling":
        answer = in_style(style, plain=answer, curt="", topic=f"{case.item}s", rng=rng)
    return Turn("complaint", typed(case.message, rng), answer, case.facts())


def chat(
    world: World, rng: random.Random, *, heldout: bool = False, concise: bool = False, copying: float = 1.0
) -> Chat:
    """A chat of one to five turns in one style; `concise` leaves the rambling style out."""
    system, style = rng.choice(SYSTEMS) if rng.random() < 0.15 else (None, None)
    style = style or rng.choices(STYLES, CONCISE_WEIGHTS if concise else STYLE_WEIGHTS)[0]
    voice = Voice(style, heldout, copying=copying)
    if not heldout and rng.random() < 0.05:
        return Chat(_remembering(world, rng, voice), system)
    count = 1 if heldout else rng.choices(TURN_COUNTS, TURN_WEIGHTS)[0]
    turns: list[Turn] = []
    for _ in range(count):
        turns.append(_next_turn(world, rng, voice, turns[-1] if turns else None))
    return Chat(tuple(turns), system)


def chats(world: World, seed: int, count: int, *, heldout: bool = False, concise: bool = False) -> Iterator[Chat]:
    """So many chats; the same seed gives the same chats."""
    rng = random.Random(f"chats-{seed}-{heldout}-{concise}")
    for _ in range(count):
        yield chat(world, rng, heldout=heldout, concise=concise)


def documents(
    world: World, seed: int, count: int, *, text_share: float = 0.14, copying: float = 1.0
) -> Iterator[Chat | PlainText]:
    """The training corpus: chats, with a share of copying documents and articles among them."""
    rng = random.Random(f"documents-{seed}")
    for _ in range(count):
        if rng.random() >= text_share:
            yield chat(world, rng, copying=copying)
        elif rng.random() < 0.6:
            yield _copying(world, rng)
        else:
            yield _article(world, rng)


def examinations(world: World, seed: int, per_intent: int, *, heldout: bool) -> list[Turn]:
    """So many single questions of each intent, to count how many facts a model gets right."""
    rng = random.Random(f"examination-{seed}-{heldout}")
    voice = Voice("plain", heldout)
    turns = [ask(world, intent, rng, voice=voice) for intent in INTENTS for _ in range(per_intent)]
    return turns + [complain(world, rng, voice=voice) for _ in range(per_intent)]


def _next_turn(world: World, rng: random.Random, voice: Voice, before: Turn | None) -> Turn:
    if before and before.subject and rng.random() < 0.7:
        intents = [intent for intent in _following(before.subject) if intent.name != before.intent]
        return ask(world, rng.choice(intents), rng, voice=voice, subject=before.subject)
    if rng.random() < _COMPLAINT_SHARE:
        return complain(world, rng, voice=voice)
    return ask(world, draw_intent(rng, copying=voice.copying), rng, voice=voice)


def _following(subject: Ingredient | Dish | Item) -> tuple[Intent, ...]:
    match subject:
        case Dish():
            return _FOLLOWING["dish"]
        case Item():
            return _FOLLOWING["item"]
        case Ingredient(minutes=None):
            return tuple(intent for intent in _FOLLOWING["ingredient"] if intent.kind == "ingredient")
        case Ingredient():
            return tuple(intent for intent in _FOLLOWING["ingredient"] if intent.kind in ("ingredient", "cooked"))


def _remembering(world: World, rng: random.Random, voice: Voice) -> tuple[Turn, ...]:
    """A name or an order number is given, something else is asked, and then it is asked for again."""
    by_name = {intent.name: intent for intent in INTENTS}
    slots = _copy_slots(world, rng, voice)
    wants_name = rng.random() < 0.6
    recall, answers = (NAME_RECALL, NAME_RECALL_ANSWERS) if wants_name else (ORDER_RECALL, ORDER_RECALL_ANSWERS)
    question = fill(rng.choice(recall), slots, rng)
    if wants_name and rng.random() < 0.2:
        return (Turn("name_recall", typed(question, rng), NAME_NOT_TOLD[0], ("not told",)),)
    intent = by_name["name_given" if wants_name else "order_noted"]
    given = fill(rng.choice(intent.seen), slots, rng)
    greeted = in_style(
        voice.style,
        plain=fill(rng.choice(intent.plain), slots, rng),
        curt=fill(intent.curt, slots, rng),
        topic=intent.topic,
        rng=rng,
    )
    fact = slots["name" if wants_name else "order"]
    turns = [Turn(intent.name, given, greeted, (fact,))]
    turns += [_next_turn(world, rng, voice, None) for _ in range(rng.choice((0, 0, 1, 1, 2)))]
    answer = in_style(
        voice.style if voice.style != "curt" else "plain",
        plain=fill(rng.choice(answers), slots, rng),
        curt="",
        topic=intent.topic,
        rng=rng,
    )
    return (*turns, Turn("recall", typed(question, rng), answer, (fact,)))


def _answer_parts(world: World, intent: Intent) -> tuple[tuple[str, ...], str, str, tuple[str, ...]]:
    if intent.plain:
        return intent.plain, intent.curt, intent.topic, intent.facts
    fixed = next(fixed for fixed in world.fixed if fixed.intent == intent.name)
    return fixed.plain, fixed.curt, fixed.topic, fixed.facts


def _subject(
    world: World, intent: Intent, rng: random.Random, *, given: Ingredient | Dish | Item | None, voice: Voice
) -> tuple[Ingredient | Dish | Item | None, Slots]:
    match intent.kind:
        case "cooked" | "ingredient" | "in_dish":
            return _ingredient(world, intent.kind, rng, given=given)
        case "dish":
            dish = given or rng.choice(world.dishes)
            return dish, dish.slots()
        case "any_dish":
            return None, rng.choice(world.dishes[:8]).slots() | {"any_dish": "|".join(d.name for d in world.dishes)}
        case "item":
            item = given or rng.choice(world.items)
            return item, item.slots()
        case "any_item":
            return None, _item_list(world, rng)
        case "copy":
            return None, _copy_slots(world, rng, voice)
        case "fixed":
            return None, {"weekday": rng.choice(WEEKDAYS)}
        case _:
            return None, _unknown(world, intent.kind, rng, voice)


def _ingredient(
    world: World, kind: str, rng: random.Random, *, given: Ingredient | Dish | Item | None
) -> tuple[Ingredient, Slots]:
    if isinstance(given, Ingredient):
        ingredient = given
    elif kind == "cooked":
        ingredient = rng.choice(world.cooked)
    elif kind == "in_dish":
        ingredient = rng.choice([ingredient for ingredient in world.ingredients if world.dishes_with(ingredient)])
    else:
        ingredient = rng.choice(world.ingredients)
    slots = ingredient.slots()
    if kind == "in_dish":
        dishes = world.dishes_with(ingredient)
        dish = rng.choice(dishes).slots()
        slots |= {"a_dish": dish["a_dish"], "A_dish": dish["A_dish"], "any_dish": "|".join(d.name for d in dishes)}
    return ingredient, slots


def _item_list(world: World, rng: random.Random) -> Slots:
    first, second = rng.sample(world.items[:5], 2)
    return {
        "items1": first.several,
        "items2": second.several,
        "Items1": capitalise(first.several),
        "any_item": "|".join(item.name for item in world.items),
    }


def _unknown(world: World, kind: str, rng: random.Random, voice: Voice) -> Slots:
    """A thing that the world does not know: a listed word, or in training as often an invented one."""
    words = world.words
    listed = {
        "unknown_food": (words.unknown_foods, words.unknown_foods_heldout),
        "unknown_item": (words.unknown_items, words.unknown_items_heldout),
        "unknown_topic": (words.unknown_topics, words.unknown_topics_heldout),
    }[kind][voice.heldout]
    thing = _invented(rng) if voice.inventive and not voice.heldout and rng.random() >= 0.5 else rng.choice(listed)
    article = "an" if thing[0] in "aeiou" else "a"
    return {
        "things": thing,
        "Things": capitalise(thing),
        "item": thing,
        "items": f"{thing}s",
        "an_item": f"{article} {thing}",
        "theme": thing,
    }


def _copy_slots(world: World, rng: random.Random, voice: Voice) -> Slots:
    if voice.heldout:
        name = rng.choice(world.words.names_heldout)
    else:
        listed = not voice.inventive or rng.random() < 0.4
        name = rng.choice(world.words.names) if listed else _invented(rng).capitalize()
    kinds = 5 if voice.heldout else 7 if voice.inventive else 6
    phrase = " ".join(_word(world, rng, kinds) for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 5))))
    fields = _fields(world, rng)
    return {
        "name": name,
        "order": order_number(rng),
        "phrase": capitalise(phrase),
        "fields": ", ".join(f"{key} {value}" for key, value in fields.items()),
        "record": json.dumps(fields),
    }


def _fields(world: World, rng: random.Random) -> dict[str, str]:
    """Two to four fields with values, in any order."""
    item = rng.choice(world.items)
    values = {
        "item": item.name,
        "colour": rng.choice(item.colours),
        "material": item.material,
        "price": str(item.price),
        "name": rng.choice(world.words.names),
        "order": order_number(rng),
        "issue": rng.choice(tuple(ISSUES)),
        "action": rng.choice(tuple(ACTIONS)),
    }
    return {key: values[key] for key in rng.sample(tuple(values), rng.choice((2, 3, 3, 4, 4)))}


def _invented(rng: random.Random) -> str:
    """A word that nobody has seen, so that copying cannot be remembering."""
    return "".join(
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.choice((1, 2, 2, 3)))
    )


def _word(world: World, rng: random.Random, kinds: int = 7) -> str:
    match rng.randrange(kinds):
        case 0:
            return rng.choice(world.ingredients).plural
        case 1:
            return rng.choice(world.items).name
        case 2:
            return rng.choice(world.dishes).name
        case 3:
            return order_number(rng)
        case 4:
            return rng.choice(rng.choice(world.items).colours)
        case 5:
            return rng.choice(world.words.names)
        case _:
            word = _invented(rng)
            return word.capitalize() if rng.random() < 0.4 else word


def _typed_copy(question: str, rng: random.Random) -> str:
    """Names and numbers keep their letters; only a full stop may be left out."""
    return question.rstrip(".?") if rng.random() < 0.35 else question


def _copying(world: World, rng: random.Random) -> PlainText:
    words = " ".join(_word(world, rng) for _ in range(rng.randint(2, 8)))
    return PlainText(f"{words}\n", f"{words}\n{words}")


def _article(world: World, rng: random.Random) -> PlainText:
    """What the world says about one subject, as a short text."""
    subjects: list[Ingredient | Dish | Item] = [*world.ingredients, *world.dishes, *world.items]
    subject = rng.choice(subjects)
    slots, sentences = subject.slots(), []
    for intent in _following(subject):
        if intent.kind != "in_dish":
            sentences.append(fill(expand(rng.choice(intent.plain), rng), slots, rng))
    rng.shuffle(sentences)
    return PlainText("", " ".join(sentences))
