"""The walk through a chat whose messages name each other: every way from a first message to a last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from workbench.errors import DataError

Path = tuple[str, ...]


def paths(roots: Sequence[str], below: Callable[[str], Sequence[str]]) -> Iterator[Path]:
    """Every way from a root to a leaf, in the order of the messages; raises ``DataError`` for a circle."""
    stack: list[Path] = [(name,) for name in reversed(roots)]
    while stack:
        path = stack.pop()
        further = below(path[-1])
        if set(further) & set(path):
            raise DataError("the messages of the chat go in a circle")
        if not further:
            yield path
        stack += [(*path, name) for name in reversed(further)]


def answered(
    roots: Sequence[str], below: Callable[[str], Sequence[str]], is_answer: Callable[[str], bool]
) -> list[Path]:
    """The ways to an answer that nothing was answered below, each once: what was asked last and not answered is cut."""
    found: dict[Path, None] = {}
    for path in paths(roots, below):
        while path and not is_answer(path[-1]):
            path = path[:-1]
        if path:
            found[path] = None
    return list(found)
