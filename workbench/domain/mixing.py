"""Mixing datasets: how many rows of each part go into the whole, which ones, and what marks them.

Also the templates by which rows are made from rows. Owns no rows: ids in, ids out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from workbench.domain.chats import Role, Turn
from workbench.domain.examples import Content
from workbench.errors import DataError, RefusedError, UsageError

BLANK = "{prompt}"


@dataclass(frozen=True, slots=True)
class Part:
    """One dataset of a mixture. ``prefix`` is put before its prompts, ``tag`` on its rows, when they are not empty."""

    dataset: str
    weight: float
    prefix: str = ""
    tag: str = ""


def portions(
    parts: Sequence[Part], ids: Mapping[str, Sequence[int]], *, cap: int = 0, seed: int = 7
) -> dict[str, set[int]]:
    """The ids to take of each part: in the proportion of the weights, at most ``cap`` in all (0: no cap), none twice.

    Which ones is drawn by a hash of seed and id: a row that is taken stays taken when its share grows.
    """
    _check(parts, ids, cap)
    whole = sum(part.weight for part in parts)
    shares = {part.dataset: part.weight / whole for part in parts}
    total = min(int(len(ids[name]) / share + 1e-9) for name, share in shares.items())
    total = min(total, cap) if cap else total
    quotas = {name: int(share * total + 1e-9) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: quotas[name] - shares[name] * total)
    for name in by_remainder[: total - sum(quotas.values())]:
        quotas[name] += 1
    return {name: set(sorted(ids[name], key=lambda i: (_order(i, seed), i))[: quotas[name]]) for name in quotas}


def _check(parts: Sequence[Part], ids: Mapping[str, Sequence[int]], cap: int) -> None:
    if not parts:
        raise UsageError("a mixture of nothing", hint="for example --of chats=0.7 --of votes=0.3")
    names = [part.dataset for part in parts]
    if len(set(names)) < len(names):
        raise UsageError("a dataset is in the mixture twice", hint="name each once, with one weight")
    if cap < 0:
        raise UsageError(f"the cap {cap} is below nothing")
    for part in parts:
        if not 0.0 < part.weight < float("inf"):
            raise UsageError(f"the weight {part.weight:g} of {part.dataset} is not above 0")
        if not ids[part.dataset]:
            hint = "a mixture takes accepted rows outside the test split"
            raise RefusedError(f"{part.dataset} has no row to take", hint=hint)


def _order(example_id: int, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:mix:{example_id}".encode()).digest()


def prefixed(content: Content, prefix: str) -> Content:
    """The same example with ``prefix`` before its last user turn; raises ``DataError`` for one without a prompt."""
    return _asked_otherwise(content, lambda text: prefix + text) if prefix else content


def filled(content: Content, template: str) -> Content:
    """The same example with its last user turn put into the template's blank."""
    return _asked_otherwise(content, lambda text: template.replace(BLANK, text))


def asked(content: Content, question: str) -> Content:
    """The same example with another text of its last user turn."""
    return _asked_otherwise(content, lambda _: question)


def _asked_otherwise(content: Content, change: Callable[[str], str]) -> Content:
    last = max((i for i, turn in enumerate(content.prompt) if turn.role == Role.USER.value), default=-1)
    if last < 0:
        raise DataError(f"a {content.kind.value} without a user turn has no question to change")
    turn = content.prompt[last]
    turns: list[Turn] = list(content.prompt)
    turns[last] = replace(turn, content=change(turn.content))
    changed = replace(content, prompt=tuple(turns))
    changed.check()
    return changed


@dataclass(frozen=True, slots=True)
class Template:
    """One way of asking, with a blank for the question, and the line of its file that it stands in."""

    text: str
    line: int


def templates_from(text: str, *, where: str = "") -> list[Template]:
    """The templates of a file: one in each line, ``{prompt}`` once in it; ``#`` begins a comment line, ``\\n`` breaks.

    Raises ``DataError`` with file and line for a line without the blank.
    """
    found: list[Template] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line.count(BLANK) != 1:
            hint = "a template is a line such as: Please answer briefly: {prompt}"
            times = line.count(BLANK)
            raise DataError(f"the line has {BLANK} {times} times, not once", hint=hint, where=f"{where}:{number}")
        found.append(Template(line.strip().replace("\\n", "\n"), number))
    if not found:
        raise DataError("there is no template in the file", hint="one in each line, with {prompt} in it", where=where)
    return found
