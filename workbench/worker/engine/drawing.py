"""Drawing the next token of each row of a batch, and how likely it was.

A row's token depends on its own logits and its own random number alone. Probabilities are added up in the order of
the vocabulary, not of likelihood: there, two tokens that are as likely as each other would change places with the last
bit of a logit, which differs with the size of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from workbench.domain.serving import TokenChance
from workbench.worker.engine.lane import Lane

COLDEST = 1e-4  # below it the division overflows, and the answer is the greedy one anyway
LIKELY_TOKENS = 512  # a nucleus is nearly always found among them; sorting a whole vocabulary takes 10 ms a row


def draw(logits: torch.Tensor, lanes: Sequence[Lane]) -> list[int]:
    """The next token of each row, from ``(rows, vocabulary)`` logits.

    Greedy for temperature 0. Otherwise nucleus sampling by inverse transform: the row's own uniform number against the
    cumulated probabilities of the most likely tokens that together reach ``top_p``. (Holtzman et al., "The Curious
    Case of Neural Text Degeneration", 2020.)
    """
    tokens = logits.argmax(dim=1)
    warm = [i for i, lane in enumerate(lanes) if lane.row.asked.temperature > COLDEST]
    if warm:
        asked = [lanes[i].row.asked for i in warm]
        temperature = logits.new_tensor([a.temperature for a in asked])[:, None]
        chances = torch.softmax(logits[warm] / temperature, dim=1)
        nucleus = _nucleus(chances, logits.new_tensor([a.top_p for a in asked])[:, None])
        cumulated = nucleus.double().cumsum(dim=1)
        uniform = cumulated.new_tensor([lanes[i].uniform() for i in warm])[:, None]
        place = torch.searchsorted(cumulated, uniform * cumulated[:, -1:], right=True)
        last = nucleus.shape[1] - 1 - (nucleus > 0).flip(1).long().argmax(dim=1, keepdim=True)
        tokens[warm] = torch.minimum(place, last).squeeze(1)
    return tokens.tolist()


def _nucleus(chances: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """``chances``, ``(rows, vocabulary)``, with 0 for what is not in the smallest set that reaches ``top_p``."""
    if bool((top_p >= 1).all()):
        return chances
    count = min(LIKELY_TOKENS, chances.shape[1])
    likely, order = chances.topk(count, dim=1)
    if count < chances.shape[1] and bool((likely.sum(dim=1, keepdim=True) < top_p).any()):
        likely, order = chances.sort(dim=1, descending=True, stable=True)
    before = likely.cumsum(dim=1) - likely
    kept = likely.masked_fill((before >= top_p) & (before > 0), 0.0)
    nucleus = torch.zeros_like(chances).scatter(1, order, kept)
    return torch.where(top_p >= 1, chances, nucleus)


def chance_of(logits: torch.Tensor, token: int, top: int, shown: Callable[[int], str]) -> TokenChance:
    """How likely ``token`` was by ``(vocabulary,)`` logits, before temperature, and the ``top`` most likely ones."""
    logarithms = torch.log_softmax(logits.float(), dim=0)
    likely, order = logarithms.topk(min(top, len(logarithms)))
    others = tuple((shown(other), value) for other, value in zip(order.tolist(), likely.tolist(), strict=True))
    return TokenChance(shown(token), float(logarithms[token]), others)
