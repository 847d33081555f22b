"""What can be done to a whole dataset, each as a form: deal, merge, mix, augment, delete.

Owns the questions. What is done is the flow's, and each says afterwards what it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.counting import counted
from workbench.domain.datasets import Dataset, Shares
from workbench.domain.mixing import Part
from workbench.domain.queries import parse_query
from workbench.errors import UsageError
from workbench.flows import apart, augment
from workbench.flows import datasets as flow
from workbench.tui.widgets.dialogs import ConfirmDialog
from workbench.tui.widgets.forms import Line, LineForm

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

LEAVE, TAKE = "-", "take"
NOT_STRATIFIED = "-"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done, in a sentence, and the dataset to look at now."""

    said: str
    dataset: str


def split_form(bench: Bench, dataset: str) -> LineForm[Outcome]:
    """Deal the rows that have no split yet."""

    def do(values: Mapping[str, str]) -> Outcome:
        validation, test = _number("validation", values), _number("test", values)
        by = values["by"] if values["by"] != NOT_STRATIFIED else ""
        shares = Shares(1.0 - validation - test, validation, test)
        rows, seed = flow.count(bench, dataset), int(_number("seed", values))
        done = apart.call(flow.deal_splits, bench, dataset, rows=rows, seed=seed, shares=shares, by=by)
        return Outcome(done.sentence(), dataset)

    lines = [
        Line("validation", "validation", "0.1", "share that is held out to measure on"),
        Line("test", "test", "0", "share that is locked and never trained on"),
        Line("seed", "seed", "7", "the same seed deals the same rows"),
        Line("by", "evenly by", NOT_STRATIFIED, "the shares right in each of them", (NOT_STRATIFIED, "tag", "source")),
    ]
    text = (
        "The rest is for training. Rows of one chat, with one prompt, or made from one another stay together."
        " What has a split keeps it, and a locked test split stays."
    )
    return LineForm(f"Deal {dataset} into splits", lines, do, text=text)


def merge_form(bench: Bench, datasets: Sequence[Dataset], dataset: str) -> LineForm[Outcome]:
    """Copy every row of some datasets into one."""

    def do(values: Mapping[str, str]) -> Outcome:
        names = [one.name for one in datasets if values[f"take {one.name}"] == TAKE]
        if not names or not values["into"]:
            raise UsageError("name where the rows go, and take at least one dataset")
        rows = sum(one.total for one in datasets if one.name in names)
        done = apart.call(flow.merge, bench, names, rows=rows, into=values["into"])
        return Outcome(done.sentence(), values["into"])

    lines = [Line("into", "into", help="a new dataset, or one that is there")]
    lines += [
        Line(
            f"take {one.name}",
            one.name,
            TAKE if one.name == dataset else LEAVE,
            f"{counted(one.total, 'rows')}, {one.accepted:,} accepted",
            (LEAVE, TAKE),
        )
        for one in datasets
    ]
    text = "Every row is copied with its status, split, tags and notes, and leads back to the row it is a copy of."
    return LineForm("Merge datasets", lines, do, text=text)


def mix_form(bench: Bench, datasets: Sequence[Dataset], dataset: str) -> LineForm[Outcome]:
    """A new dataset with accepted rows of others in the proportion of their weights."""

    def do(values: Mapping[str, str]) -> Outcome:
        parts = [
            Part(
                one.name,
                _number(f"weight {one.name}", values, one.name),
                prefix=_spaced(values[f"prefix {one.name}"]),
                tag=values[f"tag {one.name}"],
            )
            for one in datasets
            if values[f"weight {one.name}"]
        ]
        if not values["into"]:
            raise UsageError("name the new dataset")
        cap, seed = int(_number("cap", values)), int(_number("seed", values))
        rows = sum(one.accepted for one in datasets if values[f"weight {one.name}"])
        done = apart.call(flow.mix, bench, values["into"], parts, rows=rows, cap=cap, seed=seed)
        return Outcome(done.sentence(), values["into"])

    lines = [
        Line("into", "into", help="a new dataset"),
        Line("cap", "cap", "0", "at most so many rows in all; 0: as many as the weights allow"),
        Line("seed", "seed", "7", "the same seed draws the same rows"),
    ]
    lines += [
        Line(
            f"weight {one.name}",
            f"{one.name} ({one.accepted:,})",
            "1" if one.name == dataset else "",
            more=(Line(f"prefix {one.name}", help="prefix of its prompts"), Line(f"tag {one.name}", help="tag")),
        )
        for one in datasets
    ]
    text = (
        "A weight for each dataset that goes in, beside it a prefix and a tag for its rows. Only accepted rows are"
        " taken, none twice, and none of a test split."
    )
    return LineForm("Mix by weight", lines, do, text=text)


def augment_form(bench: Bench, dataset: str) -> LineForm[Outcome]:
    """Rows that ask the same by templates."""

    def do(values: Mapping[str, str]) -> Outcome:
        if not values["file"]:
            raise UsageError("name a file of templates", hint="a line for each way of asking, with {prompt} in it")
        file, limit = Path(values["file"]).expanduser(), int(_number("limit", values))
        rows = flow.count(bench, dataset)
        return Outcome(
            apart.call(augment.by_templates, bench, dataset, file, rows=rows, limit=limit).sentence(), dataset
        )

    lines = [
        Line("file", "file of templates", is_path=True),
        Line("limit", "limit", "0", "make at most so many rows; 0: no limit"),
    ]
    text = (
        "One template in each line, with {prompt} in it, such as: Please answer briefly: {prompt}\n"
        "What is made is pending, tagged synthetic, and stays beside its seed in every split. A model's paraphrases:"
        " workbench datasets augment NAME --paraphrase-with MODEL"
    )
    return LineForm(f"Augment {dataset} by templates", lines, do, text=text)


def delete_dialog(bench: Bench, name: str) -> ConfirmDialog:
    """Asks for the name of what is to be hidden. For a thread, because it counts."""
    dataset = bench.store.datasets.get(name)
    locked = bench.store.examples.count(parse_query("split:test"), dataset.name)
    test = f" {locked:,} of them are in the locked test split." if locked else ""
    text = (
        f"Hides its {counted(dataset.total, 'rows')}.{test} Chats, runs and exports keep what they have; u undoes it."
    )
    return ConfirmDialog(f"Delete {dataset.name}?", text=text, typed=dataset.name)


def _number(name: str, values: Mapping[str, str], called: str = "") -> float:
    text = values[name]
    try:
        return float(text or "0")
    except ValueError:
        raise UsageError(f"{called or name} is {text!r}, not a number") from None


def _spaced(prefix: str) -> str:
    """A prefix as it was typed, with the space before the prompt that a form's line does not keep."""
    return f"{prefix} " if prefix else ""
