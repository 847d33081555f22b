"""How many of what, in words."""

import pytest

from workbench.domain.counting import counted, size


@pytest.mark.parametrize(
    ("number", "what", "said"),
    [
        (0, "rows", "0 rows"),
        (1, "rows", "1 row"),
        (2000, "rows", "2,000 rows"),
        (1, "chats without an answer", "1 chat without an answer"),
        (1, "ties", "1 tie"),
        (1, "batches", "1 batch"),
    ],
)
def test_one_is_one_and_more_are_many(number: int, what: str, said: str) -> None:
    assert counted(number, what) == said


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (66_000_000, "66 MB"), (8_100_000_000, "8.1 GB")]
)
def test_sizes_are_decimal(count: int, shown: str) -> None:
    assert size(count) == shown
