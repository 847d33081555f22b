"""Rows at work together: prompts being read in chunks, and answers being written a token per row and step.

An own loop over the key-value cache, because rows have their own adapters, sampling, stops and ends, and because a
cancelled ``generate`` of a mixed batch leaves PEFT's hooks behind. Runs in the scheduler's thread alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from workbench.domain.chats import StopReason
from workbench.worker.engine.adapters import Loaded
from workbench.worker.engine.desk import Done, Row
from workbench.worker.engine.drawing import chance_of, draw
from workbench.worker.engine.lane import Lane
from workbench.worker.engine.resident import Resident
from workbench.worker.engine.sheet import Columns, Sheet
from workbench.worker.engine.wire import Refusal

End = Callable[[Row, "Done | Refusal | None"], None]


class Reading:
    """Prompts that are read together, right-aligned. Lanes that ask one model the same share a row.

    ``end`` is called for each lane that nobody waits for any more.
    """

    def __init__(self, resident: Resident, lanes: Sequence[Lane], end: End) -> None:
        self.rows = _shared(lanes)
        self.logits = torch.empty(0)  # (rows, vocabulary) behind the last token, once all is read
        self._resident = resident
        self._end = end
        heads = [row[0] for row in self.rows]
        lengths = [len(head.prompt) for head in heads]
        unread = max(len(head.unread) for head in heads)
        self.sheet = resident.new_sheet()
        if isinstance(self.sheet, Sheet):
            self.sheet.lay(lengths, max(lengths) - unread, [head.past for head in heads])
        self._ids = torch.tensor([_right(head.prompt, unread) for head in heads]).to(resident.device)
        self._done = 0

    @property
    def lanes(self) -> list[Lane]:
        """Every lane that waits for its first token."""
        return [lane for row in self.rows for lane in row]

    @property
    def remaining(self) -> int:
        """How many columns are still to be read."""
        return self._ids.shape[1] - self._done

    @torch.inference_mode()
    def read(self, columns: int) -> None:
        """Run the next chunk of the prompts; after the last one the logits are there."""
        new = min(columns, self.remaining)
        self.sheet.reserve(new)
        ids = self._ids[:, self._done : self._done + new]
        logits = forward(self._resident, [row[0].loaded for row in self.rows], self.sheet, ids)
        self._done += new
        for lane in self.lanes:
            lane.tell_read(self.remaining)
        if not self.remaining:
            self.logits = logits

    def remember(self, row: int) -> None:
        """Keep what was read for a row, for who asks the same while it is still being answered."""
        head = self.rows[row][0]
        self._resident.remember(head.loaded, head.prompt, self.sheet.past(row))

    @torch.inference_mode()
    def drop_cancelled(self) -> None:
        """Let lanes go that nobody waits for, and with the last one of a row what was read of it."""
        for number in reversed(range(len(self.rows))):
            for lane in [lane for lane in self.rows[number] if lane.row.cancelled]:
                self.rows[number].remove(lane)
                self._end(lane.row, None)
                if not self.rows[number]:
                    self._drop(number, lane)

    def fail(self, refusal: Refusal) -> None:
        """End all lanes with an error."""
        for lane in self.lanes:
            self._end(lane.row, refusal)
        self.rows.clear()

    def _drop(self, number: int, lane: Lane) -> None:
        past = self.sheet.past(number)
        self._resident.remember(lane.loaded, lane.prompt[: past.tokens], past)
        last = len(self.rows) - 1
        if isinstance(self.sheet, Sheet):
            self.sheet.wipe(number)  # nobody has seen yet whether it holds numbers
            self.sheet.drop(number)
            self._ids[number] = self._ids[last]
            self._ids = self._ids[:last]
        self.rows[number] = self.rows[last]
        self.rows.pop()
        self._skip_idle_columns()

    def _skip_idle_columns(self) -> None:
        """Go on to where the longest prompt that is left begins: nobody needs what comes before."""
        idle = max(0, self.sheet.begin - self.sheet.end)
        self.sheet.advance(idle)
        self._done += idle


class Batch:
    """Answers being written, one token each per step. Rows join when their prompt is read, and leave at their end.

    ``key`` tells which rows may join: those that run through the same adapters' layers. ``end`` is called once for
    each row that leaves; what a row has read and said is remembered then.
    """

    def __init__(self, resident: Resident, key: str, end: End) -> None:
        self.key = key
        self.lanes: list[Lane] = []
        self._resident = resident
        self._end = end
        self._next: list[int] = []
        self._sheet: Columns = Sheet(resident.device)

    @property
    def is_mixed(self) -> bool:
        """True when more than one model answers in this batch."""
        return len({lane.loaded for lane in self.lanes}) > 1

    @torch.inference_mode()
    def join(self, reading: Reading) -> None:
        """Draw the first token of each lane whose prompt was read, and take those in that go on."""
        lanes = reading.lanes
        rows = [number for number, row in enumerate(reading.rows) for _ in row]
        logits = reading.logits[torch.tensor(rows, device=reading.logits.device)]
        drawn = self._draw(logits, lanes)
        for row in {row for row, (_, reason) in zip(rows, drawn, strict=True) if not isinstance(reason, Refusal)}:
            reading.remember(row)  # only now: the copy takes time, and the first words are out
        self._take_in(reading.sheet, [row for row, (_, reason) in zip(rows, drawn, strict=True) if reason is None])
        for lane, row, (token, reason) in zip(lanes, rows, drawn, strict=True):
            if reason is None:
                self.lanes.append(lane)
                self._next.append(token)
            reading.rows[row].remove(lane)  # not before its place here: until then the reading answers for it
            if reason is not None:
                self._say_end(lane, reason)
        reading.rows.clear()

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for each row."""
        self._sheet.reserve(1)
        ids = torch.tensor(self._next, device=self._resident.device)[:, None]
        logits = forward(self._resident, [lane.loaded for lane in self.lanes], self._sheet, ids)
        for row, (token, reason) in reversed(list(enumerate(self._draw(logits, self.lanes)))):
            if reason is None:
                self._next[row] = token
            else:
                self._leave(row, reason)

    @torch.inference_mode()
    def drop_cancelled(self) -> None:
        """Let rows go that nobody waits for."""
        for row in reversed(range(len(self.lanes))):
            if self.lanes[row].row.cancelled:
                self._leave(row, None)

    def fail(self, refusal: Refusal) -> None:
        """End all rows with an error."""
        for lane in self.lanes:
            self._end(lane.row, refusal)
        self.lanes.clear()
        self._next.clear()
        self._sheet = Sheet(self._resident.device)  # else who joins before the batch is gone gets the place of another

    def _take_in(self, sheet: Columns, rows: Sequence[int]) -> None:
        if not rows:
            return
        if isinstance(self._sheet, Sheet) and isinstance(sheet, Sheet):
            self._sheet.join(sheet, rows)
        else:  # what cannot be joined is taken over whole
            self._sheet = sheet

    def _draw(self, logits: torch.Tensor, lanes: Sequence[Lane]) -> list[tuple[int, StopReason | Refusal | None]]:
        """Each row's token, and the reason why its answer ends with it if it does."""
        broken = torch.isnan(logits).any(dim=1).tolist()
        drawn: list[tuple[int, StopReason | Refusal | None]] = []
        for row, (lane, token) in enumerate(zip(lanes, draw(logits, lanes), strict=True)):
            if broken[row]:
                drawn.append((token, _not_a_number(lane)))
                continue
            top = lane.row.asked.top_logprobs
            chance = None if top is None else chance_of(logits[row], token, top, lane.loaded.speaker.shown)
            drawn.append((token, lane.take(token, chance)))
        return drawn

    def _leave(self, row: int, reason: StopReason | Refusal | None) -> None:
        lane, past = self.lanes[row], self._sheet.past(row)
        if not isinstance(reason, Refusal):
            read = (lane.prompt + lane.drawn)[: past.tokens]
            self._resident.remember(lane.loaded, read, past)
        if isinstance(self._sheet, Sheet):
            if isinstance(reason, Refusal):
                self._sheet.wipe(row)
            self._sheet.drop(row)
        self.lanes[row], self._next[row] = self.lanes[-1], self._next[-1]
        self.lanes.pop()
        self._next.pop()
        self._say_end(lane, reason)

    def _say_end(self, lane: Lane, reason: StopReason | Refusal | None) -> None:
        self._end(lane.row, lane.done(reason) if isinstance(reason, StopReason) else reason)


def forward(resident: Resident, rows: Sequence[Loaded], sheet: Columns, ids: torch.Tensor) -> torch.Tensor:
    """Run ``(rows, new)`` token ids behind what the sheet holds; gives ``(rows, vocabulary)`` logits of the last.

    When the memory is too small, what is only remembered gives way. That it is run again does no harm to a sheet: what
    was written lies behind its end. A state would be moved on twice, so there the error is the caller's.
    """
    new = ids.shape[1]
    inputs: dict[str, Any] = {
        "input_ids": ids,
        "attention_mask": sheet.mask(new),
        "position_ids": sheet.positions(new),
        "past_key_values": sheet.cache,
    }
    try:
        logits = resident.forward(rows, inputs)
    except torch.OutOfMemoryError:
        if not isinstance(sheet, Sheet):
            raise
        resident.free_memory()
        logits = resident.forward(rows, inputs)
    sheet.advance(new)
    return logits


def _shared(lanes: Sequence[Lane]) -> list[list[Lane]]:
    """The lanes by row: those with the same model and prompt in one."""
    rows: dict[tuple[Loaded, tuple[int, ...]], list[Lane]] = {}
    for lane in lanes:
        rows.setdefault((lane.loaded, tuple(lane.prompt)), []).append(lane)
    return list(rows.values())


def _right(ids: Sequence[int], width: int) -> list[int]:
    return [0] * (width - len(ids)) + list(ids[-width:])


def _not_a_number(lane: Lane) -> Refusal:
    return Refusal(
        f"{lane.loaded.place.name} answered with NaN instead of numbers",
        code="not_a_number",
        status=500,
        hint="its weights are broken, or overflow in this precision",
    )
