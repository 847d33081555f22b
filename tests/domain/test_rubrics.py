from __future__ import annotations

from pathlib import Path

import pytest

from workbench.domain.rubrics import STANDARD, Criterion, check_marks, rubric_from_toml, rubric_in, rubric_to_toml
from workbench.errors import DataError


def test_a_rubric_is_read_from_the_first_folder_that_has_one(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    for folder in (near, far):
        folder.mkdir()
    assert rubric_in(near, far) == STANDARD
    (far / "rubric.toml").write_text('[[criterion]]\nname = "kind"\n')
    assert rubric_in(near, far) == (Criterion("kind"),)
    (near / "rubric.toml").write_text('[[criterion]]\nname = "true"\nhelp = "is it?"\nlow = "no"\nhigh = "yes"\n')
    assert rubric_in(near, far) == (Criterion("true", "is it?", "no", "yes"),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[criterion", "not TOML"),
        ("x = 1", "no [[criterion]]"),
        ("[[criterion]]\nhelp = 'x'", "has no name"),
        ("[[criterion]]\nname = 'a'\nweight = 'x'", "no 'weight'"),
        ("[[criterion]]\nname = 'a'\nhelp = 3", "is text"),
        ("[[criterion]]\nname = 'a'\n[[criterion]]\nname = 'a'", "the same name"),
    ],
)
def test_a_wrong_rubric_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        rubric_from_toml(text)
    assert reason in caught.value.message


@pytest.mark.parametrize("marks", [{"nice": (1, 2)}, {"clear": (0, 3)}, {"clear": (3, 6)}])
def test_marks_outside_the_rubric_are_refused(marks: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(DataError):
        check_marks(marks, STANDARD)
    check_marks({"clear": (1, 5)}, STANDARD)


@pytest.mark.parametrize(
    "rubric", [STANDARD, (Criterion('a "quote" \\ \x7f', "two\nlines", "", "ünï"), Criterion("b"))]
)
def test_a_written_rubric_reads_as_the_same(rubric: tuple[Criterion, ...]) -> None:
    assert rubric_from_toml(rubric_to_toml(rubric)) == rubric
