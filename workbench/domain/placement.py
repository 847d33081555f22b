"""Where the processes of a run are: how the rows of a step are shared out between them, and the machines they run on.

A step sees the same rows whatever the number of processes, so that a run keeps its learning rate, its number of steps
and its checkpoints when it goes on with more or fewer of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.domain.methods import KnobValue, Method
from workbench.errors import RefusedError, UsageError

PROCESSES, STRATEGY = "processes", "strategy"
BATCH, PASSES = "per_device_train_batch_size", "gradient_accumulation_steps"


@dataclass(frozen=True, slots=True)
class Host:
    """A machine as it is reached from the others, and how many processes it takes."""

    name: str
    slots: int = 1


def share_of_batch(batch: int, accumulation: int, processes: int, *, fewest: int = 1) -> tuple[int, int] | None:
    """One process's rows in a forward pass, and passes a step, so that a step of all processes together sees as many
    rows as one process alone would. None when the rows of a step cannot be shared out evenly.
    """
    if accumulation % processes == 0:
        return batch, accumulation // processes
    share, rest = divmod(batch * accumulation, processes)
    if rest:
        return None
    return next(((rows, share // rows) for rows in range(batch, max(1, fewest) - 1, -1) if share % rows == 0), None)


def shared(method: Method, knobs: Mapping[str, KnobValue], processes: int) -> dict[str, KnobValue]:
    """The knobs of one of so many processes; raises ``RefusedError`` when a step cannot be shared out evenly."""
    batch, passes = int(knobs[BATCH]), int(knobs[PASSES])
    fewest = int(method.knob(BATCH).minimum or 1)
    found = share_of_batch(batch, passes, processes, fewest=fewest)
    if found is None:
        raise RefusedError(
            f"the {batch * passes} rows of a step cannot be shared out evenly between {processes} processes",
            hint=f"--set {PASSES}={processes}, or a multiple of it",
        )
    return {**knobs, BATCH: found[0], PASSES: found[1]}


def parse_hosts(text: str) -> tuple[Host, ...]:
    """The machines of a hosts list: a line each, ``name`` or ``name slots=N``, as MPI and DeepSpeed write them; the
    first is the one that the others ask for. Raises ``UsageError`` with the line.
    """
    lines = [(number, line.partition("#")[0].split()) for number, line in enumerate(text.splitlines(), 1)]
    hosts = tuple(_host(number, words) for number, words in lines if words)
    if not hosts:
        raise UsageError("the hosts list is empty", hint="one machine a line, for example: gpu-1 slots=8")
    if len({host.slots for host in hosts}) > 1:
        raise UsageError("every machine must have the same number of slots", hint="accelerate shares them out evenly")
    if len({host.name for host in hosts}) < len(hosts):
        raise UsageError("a machine stands twice in the hosts list", hint="give it more slots instead")
    return hosts


def _host(number: int, words: list[str]) -> Host:
    name, *rest = words
    slots = rest[0].removeprefix("slots=") if rest else "1"
    if len(rest) > 1 or not slots.isdigit() or int(slots) < 1 or name.startswith("-"):
        raise UsageError(f"line {number} of the hosts list is no machine: {' '.join(words)}", hint="NAME slots=N")
    return Host(name, int(slots))
