"""The queue of training runs: what a queued run waits for, on which GPUs it wants to train, and who comes next.

Owns the order and the dealing of GPUs. Knows no files, processes or drivers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from workbench.errors import UsageError

AUTO, CPU = "auto", "cpu"
Name = TypeVar("Name")


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a run in the queue was given besides its settings; a person may change it until the run starts.

    The run with the smallest ``place`` comes first. ``gpus`` is as ``wish`` takes it. ``after`` is the folder name of
    the run whose result this one starts from, "" for none.
    """

    place: float = 0.0
    gpus: str = AUTO
    after: str = ""


@dataclass(frozen=True, slots=True)
class RunnerNote:
    """What the runner keeps about a run: the GPUs that it is on (``uuids``, and as a person knows them).

    ``interrupted`` says that the runner was told to end while the run was at work, so that whatever ended the run was
    no person. ``recovered_step`` is the step of the checkpoint from which it was last queued again for such a reason,
    0 for the beginning, None when it never was.
    """

    uuids: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    interrupted: bool = False
    recovered_step: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceUser:
    """A process that has memory on a GPU; ``used`` is None where the driver does not tell."""

    pid: int
    name: str
    used: int | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as the driver tells it: ``name`` is the product's, ``uuid`` its own for good; memory in bytes."""

    index: int
    uuid: str
    name: str
    total: int
    free: int
    has_bf16: bool = False
    users: tuple[DeviceUser, ...] = ()

    @property
    def label(self) -> str:
        """As a person knows it: number and product."""
        return f"{self.index} ({self.name})"


@dataclass(frozen=True, slots=True)
class Wish:
    """The GPUs that a run wants: these by number, else ``count`` of the freest; none of either is the CPU."""

    count: int = 1
    indices: tuple[int, ...] = ()

    @property
    def is_cpu(self) -> bool:
        """True for a run that is to use no GPU."""
        return not self.count and not self.indices


def wish(text: str) -> Wish:
    """What ``text`` asks for: ``auto`` (one GPU), ``auto:2``, numbers (``0,1``), or ``cpu``; raises ``UsageError``."""
    wanted = text.strip().lower() or AUTO
    kind, _, count = wanted.partition(":")
    if wanted == CPU:
        return Wish(0)
    if kind == AUTO and (not count or (count.isdigit() and int(count) > 0)):
        return Wish(int(count or 1))
    numbers = [part.strip() for part in wanted.split(",")]
    if all(part.isdigit() for part in numbers) and len(set(map(int, numbers))) == len(numbers):
        return Wish(len(numbers), tuple(map(int, numbers)))
    raise UsageError(f"{text!r} names no GPUs", hint="auto, auto:2 (any two), 0,1 (these two), or cpu")


def in_order(tickets: Sequence[tuple[Name, Ticket]]) -> list[Name]:
    """The names by place; equal places in the order given."""
    return [name for name, _ in sorted(tickets, key=lambda entry: entry[1].place)]


def moved(tickets: Sequence[tuple[Name, Ticket]], name: Name, steps: int) -> dict[Name, Ticket]:
    """The tickets that change when ``name`` goes ``steps`` places later (earlier below 0); empty when it cannot.

    A run never goes before the one whose result it starts from; ``steps`` beyond an end go to that end.
    """
    names = in_order(tickets)
    places = sorted(ticket.place for _, ticket in tickets)
    at = names.index(name)
    to = min(max(at + steps, 0), len(names) - 1)
    names.insert(to, names.pop(at))
    old = dict(tickets)
    # Two runs queued in the same microsecond have one place between them: spread, so that the order is a real one.
    spread = [place + index * 1e-3 for index, place in enumerate(places)] if len(set(places)) < len(places) else places
    new = {one: replace(old[one], place=place) for one, place in zip(names, spread, strict=True)}
    return {one: ticket for one, ticket in new.items() if ticket != old[one]}


def startable(
    waiting: Sequence[tuple[Name, Wish]], gpus: Sequence[Gpu], taken: Collection[str]
) -> Iterator[tuple[Name, tuple[Gpu, ...]]]:
    """Which of the ``waiting`` (first in line first) can start now, and on which GPUs (none: on the CPU).

    ``taken`` are the uuids of GPUs that runs of ours are on, and ``cpu`` when one trains there. One run to a GPU, and
    one on the CPU. A run may overtake another that waits for GPUs, but never onto what that one waits for.
    """
    gone = set(taken)
    for name, wanted in waiting:
        if wanted.is_cpu or not gpus:
            if CPU not in gone:
                gone.add(CPU)
                yield name, ()
            continue
        fits = [g for g in gpus if g.index in wanted.indices] if wanted.indices else list(gpus)
        free = sorted((g for g in fits if g.uuid not in gone), key=lambda g: (-g.free, g.index))
        if len(free) >= wanted.count:
            chosen = tuple(sorted(free[: wanted.count], key=lambda g: g.index))
            gone |= {g.uuid for g in chosen}
            yield name, chosen
        else:
            gone |= {g.uuid for g in fits}


def impossible(wanted: Wish, gpus: Sequence[Gpu]) -> str:
    """Why this machine can never give what is wanted, "" when it can. Without any GPU every run trains on the CPU."""
    if not gpus or wanted.is_cpu:
        return ""
    there = {gpu.index for gpu in gpus}
    if missing := sorted(set(wanted.indices) - there):
        return f"there is no GPU {', '.join(map(str, missing))} here, only {', '.join(map(str, sorted(there)))}"
    return f"it wants {wanted.count} GPUs, and there are {len(gpus)}" if wanted.count > len(gpus) else ""


def others_on(gpus: Sequence[Gpu], ours: Collection[int]) -> str:
    """Who else has memory on these GPUs, in a sentence for the log; ``ours`` are processes that are known."""
    users = [(gpu, user) for gpu in gpus for user in gpu.users if user.pid not in ours]
    told = [
        f"{user.name} ({user.pid})" + (f" holds {user.used / 1e9:.1f} GB" if user.used else "") + f" on GPU {gpu.label}"
        for gpu, user in users
    ]
    return "; ".join(told)
