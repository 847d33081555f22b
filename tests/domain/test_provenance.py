from __future__ import annotations

import json

import pytest

from samples import IMPORTED, demo
from workbench.domain.examples import Example, Source, SourceKind, Split, Status
from workbench.domain.provenance import provenance_row, split_named, with_provenance

MADE = Source(SourceKind.SYNTHETIC, file="ways.txt", line=3, models=("pip",), origins=(7, 2))


def test_a_source_with_its_origins_survives_the_way_through_json() -> None:
    example = Example(9, "d", demo(), MADE, status=Status.ACCEPTED, split=Split.TRAIN, tags=("synthetic",), note="n")
    row = json.loads(json.dumps(provenance_row(example)))
    new = with_provenance(demo(), row, source=IMPORTED)
    assert new.source == MADE
    assert (new.status, new.split, new.tags, new.note) == (Status.ACCEPTED, Split.TRAIN, ("synthetic",), "n")


@pytest.mark.parametrize("origins", ["7", [7, "2"], [True], {"7": 2}])
def test_origins_that_are_none_of_ours_are_not_taken(origins: object) -> None:
    row = {"source": {"kind": "synthetic", "origins": origins}}
    assert with_provenance(demo(), row, source=IMPORTED).source == IMPORTED


def test_files_written_before_there_were_origins_still_say_their_source() -> None:
    row = {"source": {"kind": "import", "file": "a.jsonl", "line": 4}}
    assert with_provenance(demo(), row, source=IMPORTED).source == Source(SourceKind.IMPORT, file="a.jsonl", line=4)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("test", Split.TEST),
        ("test_prefs", Split.TEST),
        ("train_sft", Split.TRAIN),
        ("Validation-matched", Split.VALIDATION),
        ("dev", Split.VALIDATION),
        ("none", Split.NONE),
        ("testing it", None),
        ("", None),
    ],
)
def test_splits_are_known_by_the_names_that_others_give_them(name: str, split: Split | None) -> None:
    assert split_named(name) is split
