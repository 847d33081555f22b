"""The README says what is so: its generated parts are fresh, and the files it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import docs

ROOT = Path(__file__).resolve().parent.parent


def test_the_generated_parts_are_fresh() -> None:
    text = docs.README.read_text(encoding="utf-8")
    assert docs.rendered(text) == text, "run: make docs"


def test_every_generated_part_is_in_the_readme() -> None:
    found = set(re.findall(r"<!-- generated: (\w+) -->", docs.README.read_text(encoding="utf-8")))
    assert found == set(docs.PARTS)


def test_every_picture_and_file_that_the_readme_links_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", docs.README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
