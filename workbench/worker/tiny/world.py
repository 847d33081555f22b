"""The invented world as frozen dataclasses, read from `sample_data/world.toml`.

Owns the file's shape and the words that a sentence needs (plurals, articles, "it" or "them"). Knows
nothing of phrasings, chats or models.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.paths import shipped

Slots = dict[str, str]


@dataclass(frozen=True)
class Words:
    """Names to copy and things that the assistant does not know; `*_heldout` never occur in training."""

    unknown_foods: tuple[str, ...]
    unknown_foods_heldout: tuple[str, ...]
    unknown_items: tuple[str, ...]
    unknown_items_heldout: tuple[str, ...]
    unknown_topics: tuple[str, ...]
    unknown_topics_heldout: tuple[str, ...]
    names: tuple[str, ...]
    names_heldout: tuple[str, ...]


@dataclass(frozen=True)
class Ingredient:
    """Something kept in the kitchen; `method` and `minutes` are None for what is not cooked by itself."""

    name: str
    plural: str
    storage: str
    keeps: str
    substitute: str
    pairs: tuple[str, ...]
    method: str | None = None
    minutes: int | None = None
    article: str = "a"
    mass: bool = False

    def slots(self) -> Slots:
        """The words that phrasings and answers about this ingredient use."""
        return {
            "things": self.plural,
            "Things": capitalise(self.plural),
            "a_thing": self.plural if self.mass else f"{self.article} {self.name}",
            "storage": self.storage,
            "keeps": self.keeps,
            "substitute": self.substitute,
            "pairs": join_words(self.pairs),
            "pair1": self.pairs[0],
            "pair2": self.pairs[1],
            "verb": self.method or "",
            "Verb": capitalise(self.method or ""),
            "minutes": str(self.minutes or ""),
            **number_words(plural=not self.mass),
        }


@dataclass(frozen=True)
class Dish:
    """A recipe; `article` is empty where the dish's name stands by itself."""

    name: str
    ingredients: tuple[str, ...]
    steps: tuple[str, ...]
    minutes: int
    servings: int
    article: str = ""
    plural: bool = False

    def slots(self) -> Slots:
        """The words that phrasings and answers about this dish use."""
        return {
            "dish": self.name,
            "Dish": capitalise(self.name),
            "a_dish": f"{self.article} {self.name}".strip(),
            "A_dish": capitalise(f"{self.article} {self.name}".strip()),
            "ingredients": join_words(self.ingredients),
            "step1": self.steps[0],
            "step2": self.steps[1],
            "step3": self.steps[2],
            "minutes": str(self.minutes),
            "people": "1 person" if self.servings == 1 else f"{self.servings} people",
            **number_words(plural=self.plural),
        }


@dataclass(frozen=True)
class Item:
    """Something sold in the shop; the price is in whole euros."""

    name: str
    price: int
    colours: tuple[str, ...]
    material: str
    care: str
    article: str = "a"
    plural: str = ""

    @property
    def several(self) -> str:
        """The item's plural."""
        return self.plural or f"{self.name}s"

    def slots(self) -> Slots:
        """The words that phrasings and answers about this item use."""
        return {
            "item": self.name,
            "Item": capitalise(self.name),
            "items": self.several,
            "Items": capitalise(self.several),
            "an_item": f"{self.article} {self.name}",
            "An_item": capitalise(f"{self.article} {self.name}"),
            "price": str(self.price),
            "colours": join_words(self.colours),
            "Colours": capitalise(join_words(self.colours)),
            "colour1": self.colours[0],
            "material": self.material,
            "Material": capitalise(self.material),
            "care": self.care,
            "Care": capitalise(self.care),
            **number_words(plural=False),
        }


@dataclass(frozen=True)
class Fixed:
    """An answer without a subject; a fact may hold alternatives separated by a bar."""

    intent: str
    topic: str
    plain: tuple[str, ...]
    curt: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """Everything that the embedded model is taught."""

    words: Words
    ingredients: tuple[Ingredient, ...]
    dishes: tuple[Dish, ...]
    items: tuple[Item, ...]
    fixed: tuple[Fixed, ...]

    @property
    def cooked(self) -> tuple[Ingredient, ...]:
        """The ingredients that have a cooking time."""
        return tuple(ingredient for ingredient in self.ingredients if ingredient.minutes is not None)

    def dishes_with(self, ingredient: Ingredient) -> tuple[Dish, ...]:
        """The dishes that this ingredient goes into."""
        return tuple(dish for dish in self.dishes if ingredient.plural in dish.ingredients)


def capitalise(text: str) -> str:
    """The text with its first letter in upper case and the rest as it is."""
    return text[:1].upper() + text[1:]


def join_words(words: tuple[str, ...]) -> str:
    """`flour, eggs and milk`."""
    if len(words) == 1:
        return words[0]
    return ", ".join(words[:-1]) + " and " + words[-1]


def number_words(*, plural: bool) -> Slots:
    """The words that agree in number with the subject."""
    if plural:
        return {"are": "are", "do": "do", "s": "", "them": "them", "they": "they", "es": "", "Do": "Do", "Are": "Are"}
    return {"are": "is", "do": "does", "s": "s", "them": "it", "they": "it", "es": "es", "Do": "Does", "Are": "Is"}


def sample_data() -> Path:
    """The folder with the world, the sample sets and the model."""
    return shipped("sample_data")


def load_world(path: Path | None = None) -> World:
    """The world in the file; None means the shipped one.

    Raises `TypeError` with the field's name where a table has an unknown one.
    """
    file = path or sample_data() / "world.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return World(
        words=Words(**_tuples(tables["words"])),
        ingredients=tuple(Ingredient(**_tuples(row)) for row in tables["ingredient"]),
        dishes=tuple(Dish(**_tuples(row)) for row in tables["dish"]),
        items=tuple(Item(**_tuples(row)) for row in tables["item"]),
        fixed=tuple(Fixed(**_tuples(row)) for row in tables["fixed"]),
    )


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
