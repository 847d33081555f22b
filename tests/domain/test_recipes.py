from __future__ import annotations

import pytest

from workbench.domain.recipes import parse_recipe
from workbench.errors import DataError

GOOD = """
name = "company"
model = "pip"
preset = "tiny"

[set]
num_train_epochs = 2
packing = false

[[stage]]
name = "general"
method = "sft"
dataset = "chats"

[[stage]]
name = "domain"
method = "sft"
dataset = "notes"
gpus = "0"
replay = { dataset = "chats", share = 0.2 }

  [stage.set]
  learning_rate = 1e-4
  num_train_epochs = 1

[[stage]]
name = "prefer"
method = "dpo"
dataset = "votes"
after = "general"
"""


def test_stages_follow_each_other_with_what_the_recipe_gives_to_all() -> None:
    recipe = parse_recipe(GOOD, where="r.toml")
    general, domain, prefer = recipe.stages
    assert (recipe.name, general.model, general.after) == ("company", "pip", "")
    assert (domain.after, domain.model, domain.gpus) == ("general", "", "0")
    assert prefer.after == "general"
    assert general.settings == {"num_train_epochs": "2", "packing": "false"}
    assert domain.settings == {
        "num_train_epochs": "1",
        "packing": "false",
        "learning_rate": "0.0001",
        "replay_dataset": "chats",
        "replay_share": "0.2",
    }
    assert all(stage.preset == "tiny" for stage in recipe.stages)
    assert recipe.place(domain) == "r.toml:15 (stage domain)"


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('method = "dpo"', 'metod = "dpo"', 28, "a stage has no 'metod'|did you mean 'method'?"),
        ('preset = "tiny"', 'prset = "tiny"', 4, "a recipe has no 'prset'|did you mean 'preset'?"),
        ('after = "general"', 'after = "genral"', 30, "no stage before it is called 'genral'|did you mean 'general'?"),
        ('name = "prefer"', 'name = "domain"', 27, "there are two stages called 'domain'|"),
        ('dataset = "notes"', "", 15, "the stage has no dataset|"),
        ("share = 0.2", "shre = 0.2", 20, "replay has no 'shre'|did you mean 'share'?"),
        ("learning_rate = 1e-4", "learning_rate = [1]", 23, "learning_rate is neither a text nor a number|"),
        ('name = "company"', "", 1, "the recipe has no name|"),
        ('dataset = "votes"', "dataset = 3", 29, "dataset is no text|"),
        ('name = "general"', 'name = "a b"', 11, "'a b' cannot name a stage|"),
        (
            'after = "general"',
            'after = "general"\nmodel = "pip"',
            31,
            "it starts either after a stage or from a model|",
        ),
        ('gpus = "0"', 'gpus = "0', 19, "the recipe is no TOML|"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_the_nearest_name(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    with pytest.raises(DataError) as wrong:
        parse_recipe(GOOD.replace(old, new), where="r.toml")
    message, hint = said.split("|")
    assert wrong.value.message.startswith(message)
    assert hint in wrong.value.hint
    assert wrong.value.where == f"r.toml:{line}"


def test_a_recipe_without_stages_is_refused() -> None:
    with pytest.raises(DataError, match="there is no stage"):
        parse_recipe('name = "x"')
