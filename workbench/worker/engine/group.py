"""Rows that decode together: the prompts in chunks, then one token per row and step, until each has left.

An own loop over the key-value cache, because rows have their own adapters, sampling, stops and ends, and because a
cancelled ``generate`` of a mixed batch leaves PEFT's hooks behind. Runs in the scheduler's thread alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from workbench.domain.chats import StopReason
from workbench.worker.engine.desk import Done, Piece, Row
from workbench.worker.engine.memory import Past, put_in_place
from workbench.worker.engine.resident import Loaded, Resident
from workbench.worker.engine.text import Detokeniser, StopFinder
from workbench.worker.engine.wire import Refusal

COLDEST = 1e-4  # below it the division overflows, and the answer is the greedy one anyway

End = Callable[[Row, "Done | Refusal | None"], None]


class Lane:
    """One row at work: its prompt, what is remembered of it, its random numbers, its text so far."""

    def __init__(
        self, row: Row, loaded: Loaded, prompt: list[int], context_tokens: int | None, past: Past | None = None
    ) -> None:
        self.row = row
        self.loaded = loaded
        self.prompt = prompt
        self.past = past or Past()
        self.drawn: list[int] = []
        self.first_token_ms = 0
        self.limit = row.asked.max_tokens
        if context_tokens is not None:
            self.limit = min(self.limit, context_tokens - len(prompt))
        self._generator = torch.Generator().manual_seed(row.asked.seed)
        self._text = Detokeniser(loaded.speaker.decode)
        self._stop = StopFinder(row.asked.stop)

    @property
    def tokens(self) -> int:
        """How many tokens were drawn so far."""
        return len(self.drawn)

    @property
    def unread(self) -> list[int]:
        """The part of the prompt that is not remembered; never empty."""
        return self.prompt[self.past.tokens :]

    def uniform(self) -> float:
        """The row's next random number in [0, 1); the same sequence whatever else is in the batch or on the device."""
        return torch.rand((), generator=self._generator, dtype=torch.float64).item()

    def take(self, token: int) -> StopReason | None:
        """Add a drawn token, give out the text it made certain, and say whether the answer ends here."""
        self.drawn.append(token)
        if self.tokens == 1:
            self.first_token_ms = self._elapsed_ms()
        if token in self.loaded.speaker.end_ids:
            self._give(self._stop.push(self._text.flush()) + self._stop.flush())
            return StopReason.STOP
        self._give(self._stop.push(self._text.push(token)))
        if self._stop.found:
            return StopReason.STOP
        if self.tokens >= self.limit:  # half a character at the cut is not given out: it says nothing
            self._give(self._stop.flush())
            return StopReason.LENGTH
        return None

    def done(self, reason: StopReason) -> Done:
        """The row's last event."""
        ms = (self.first_token_ms, self._elapsed_ms())
        return Done(reason, len(self.prompt), self.tokens, *ms, remembered_tokens=self.past.tokens)

    def _give(self, text: str) -> None:
        if text:
            self.row.emit(Piece(text, self.tokens))

    def _elapsed_ms(self) -> int:
        return round(1000 * (time.monotonic() - self.row.arrived))


class Group:
    """Lanes in one batch, left-padded to the longest past and the longest rest of a prompt.

    ``end`` is called once for each row that leaves. What a row has read and said is remembered when it leaves.
    """

    def __init__(self, resident: Resident, lanes: Sequence[Lane], end: End) -> None:
        self.lanes = list(lanes)
        self._resident = resident
        self._end = end
        self._cache: Any = None
        self._ids = torch.empty(0)  # (rows, positions) of the prompts, without what is remembered
        self._known = self._read = 0
        self._mask = torch.empty(0)  # (rows, positions)
        self._next = torch.empty(0)

    @property
    def is_mixed(self) -> bool:
        """True when more than one model answers in this batch."""
        return len({lane.loaded for lane in self.lanes}) > 1

    @torch.inference_mode()
    def prefill(self) -> None:
        """Put what is remembered in its place, and begin to run the rest of the prompts through."""
        self._cache = self._resident.new_cache()
        self._known = put_in_place(self._cache, [lane.past for lane in self.lanes])
        unread = [lane.unread for lane in self.lanes]
        width = max(len(rest) for rest in unread)
        self._ids = torch.tensor([[0] * (width - len(rest)) + rest for rest in unread]).to(self._resident.device)
        masks = [
            _right(lane.past.tokens, self._known) + _right(len(rest), width)
            for lane, rest in zip(self.lanes, unread, strict=True)
        ]
        self._mask = torch.tensor(masks).to(self._resident.device)
        self._read_on()

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for each row, or while the prompts are long one more chunk of them."""
        if self._is_reading:
            self._read_on()
            return
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.lanes), 1)], dim=1)
        positions = self._mask.sum(1, keepdim=True) - 1
        self._advance(self._forward(self._next[:, None], self._mask, positions))

    @property
    def _is_reading(self) -> bool:
        return self._read < self._ids.shape[1]

    def _read_on(self) -> None:
        """The next chunk of the prompts; after the last one each row's first token is drawn."""
        begin, self._read = self._read, min(self._read + self._resident.chunk_tokens, self._ids.shape[1])
        mask = self._mask[:, : self._known + self._read]
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, self._known + begin :]
        logits = self._forward(self._ids[:, begin : self._read], mask, positions)
        if not self._is_reading:
            self._advance(logits)

    def drop_cancelled(self) -> None:
        """Let rows go that nobody waits for."""
        gone = [lane for lane in self.lanes if lane.row.cancelled]
        for lane in gone:
            self._remember(self.lanes.index(lane))
            self._end(lane.row, None)
        if gone:
            self._keep([i for i, lane in enumerate(self.lanes) if lane not in gone])

    def fail(self, refusal: Refusal) -> None:
        """End all rows with an error."""
        for lane in self.lanes:
            self._end(lane.row, refusal)
        self.lanes.clear()

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        inputs: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": positions,
            "past_key_values": self._cache,
        }
        return self._resident.forward([lane.loaded for lane in self.lanes], inputs)

    def _advance(self, logits: torch.Tensor) -> None:
        """Draw from ``(rows, vocabulary)`` logits, and let rows go that have ended."""
        self._next = draw(logits, self.lanes)
        broken = torch.isnan(logits).any(dim=1).tolist()
        staying = []
        for index, (lane, token) in enumerate(zip(list(self.lanes), self._next.tolist(), strict=True)):
            if broken[index]:
                self._end(lane.row, _not_a_number(lane))
            elif reason := lane.take(token):
                self._remember(index)
                self._end(lane.row, lane.done(reason))
            else:
                staying.append(index)
        self._keep(staying)

    def _remember(self, index: int) -> None:
        """Keep what the row has read so far: its prompt and all it drew but the last token, which was not run yet."""
        lane, seen = self.lanes[index], self._mask[index, : self._cache.get_seq_length()]
        ids = (lane.prompt + lane.drawn[:-1])[: int(seen.sum())]
        self._resident.remember(lane.loaded, ids, self._cache, index, seen)

    def _keep(self, indices: list[int]) -> None:
        if len(indices) == len(self.lanes):
            return
        self.lanes = [self.lanes[i] for i in indices]
        if not indices:
            return
        kept = torch.tensor(indices, device=self._resident.device)
        self._cache.batch_select_indices(kept)
        self._mask, self._ids = self._mask[kept], self._ids[kept]
        if not self._is_reading:
            self._next = self._next[kept]


def _right(ones: int, width: int) -> list[int]:
    return [0] * (width - ones) + [1] * ones


def draw(logits: torch.Tensor, lanes: Sequence[Lane]) -> torch.Tensor:
    """The next token of each row, ``(rows,)``, from ``(rows, vocabulary)`` logits.

    Greedy for temperature 0. Otherwise nucleus sampling by inverse transform: the row's own uniform number against the
    cumulated probabilities of the most likely tokens that together reach ``top_p``. (Holtzman et al., "The Curious
    Case of Neural Text Degeneration", 2020.)
    """
    greedy = logits.argmax(dim=1)
    warm = [i for i, lane in enumerate(lanes) if lane.row.asked.temperature > COLDEST]
    if not warm:
        return greedy
    asked = [lanes[i].row.asked for i in warm]
    temperature = logits.new_tensor([a.temperature for a in asked])[:, None]
    top_p = logits.new_tensor([a.top_p for a in asked])[:, None]
    uniform = logits.new_tensor([lanes[i].uniform() for i in warm])[:, None]
    rows = torch.softmax(logits[warm] / temperature, dim=1)
    likely, order = rows.sort(dim=1, descending=True, stable=True)
    before = likely.cumsum(dim=1) - likely
    likely = likely.masked_fill((before >= top_p) & (before > 0), 0.0)
    cumulated = likely.cumsum(dim=1)
    total = cumulated[:, -1:]
    place = torch.searchsorted(cumulated, uniform * total, right=True)
    kept = (likely > 0).sum(dim=1, keepdim=True)
    greedy[warm] = order.gather(1, torch.minimum(place, kept - 1).clamp(min=0)).squeeze(1)
    return greedy


def _not_a_number(lane: Lane) -> Refusal:
    return Refusal(
        f"{lane.loaded.place.name} answered with NaN instead of numbers",
        code="not_a_number",
        status=500,
        hint="its weights are broken, or overflow in this precision",
    )
