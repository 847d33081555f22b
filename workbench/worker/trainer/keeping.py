"""The best of a run: its weights at the measurement on held-out rows that was the best so far, and when to stop early.

What was measured is read back from the run's own events, so that a run that was killed and goes on decides as one that
never was. The weights that learn stand in one file, written aside and renamed, which tells their step too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.domain.runs import judged
from workbench.jobs.run_directory import RunDirectory
from workbench.worker.trainer import ranks

Save = Callable[[Callable[[], object]], object]


class Best:
    """Which measurement was the best, and the weights of it.

    ``patience`` is how many measurements in a row may be no better than one before them (0: any number), ``keeps``
    whether the weights of the best are kept; ``save`` is called with what writes them, in every process, and may try
    again. Of several processes every one asks all that is asked here, and the first one's figures decide.
    """

    def __init__(self, directory: RunDirectory, *, patience: int, keeps: bool, save: Save) -> None:
        self._file = directory.best
        self._aside = _aside(directory)
        self._patience = patience
        self._keeps = keeps
        self._save = save
        self._values = _measured(directory)
        self._newest: tuple[int, Mapping[str, Any]] | None = None

    def note(self, step: int, scores: Mapping[str, Any], model: Any) -> None:
        """Take a measurement in, and keep the weights when it is the best so far."""
        self._newest = step, scores
        if (value := _rank(scores)) is not None:
            self._values[step] = value
        rank = math.inf if value is None else value  # with nothing to judge by it is never the best
        if self._keeps and ranks.agreed(ranks.is_first() and rank < self._kept()[1]):
            self._save(lambda: self._write(step, rank, model) if ranks.is_first() else None)

    def is_over(self, step: int) -> bool:
        """True when the last measurements up to ``step`` were all no better than one before them."""
        if not self._patience:
            return False
        values = [self._values[at] for at in sorted(self._values) if at <= step]
        since = len(values) - 1 - values.index(min(values)) if values else 0
        return ranks.agreed(ranks.is_first() and since >= self._patience)

    def why_over(self, step: int) -> str:
        """The sentence for a run that ended early."""
        best = min((at for at in self._values if at <= step), key=lambda at: (self._values[at], at))
        return (
            f"stopped early at step {step}: {self._patience} measurements on held-out rows in a row were no better "
            f"than the one at step {best} (early_stopping_patience)"
        )

    def scores_at(self, step: int) -> Mapping[str, Any] | None:
        """What was measured at this step, when that was the last measurement of this start."""
        return self._newest[1] if self._newest is not None and self._newest[0] == step else None

    def is_better_than(self, scores: Mapping[str, Any]) -> bool:
        """True when the kept weights were better than a model with these figures is."""
        value = _rank(scores)
        return ranks.agreed(ranks.is_first() and value is not None and self._kept()[1] < value)

    def restore(self, model: Any) -> int:
        """Put the kept weights back into the model; the step that they are of."""
        import torch
        from safetensors.torch import load_file

        kept = load_file(self._file)
        with torch.no_grad():
            for name, weight in _learning(model).items():
                weight.copy_(kept[name])
        return self._kept()[0]

    def _kept(self) -> tuple[int, float]:
        """The step of the kept weights and how good they were; with none, worse than any."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._file, framework="pt") as file:
                told = file.metadata()
                return int(told["step"]), float(told["rank"])
        except (OSError, SafetensorError, KeyError):
            return 0, math.inf

    def _write(self, step: int, rank: float, model: Any) -> None:
        from safetensors.torch import save_file

        weights = {name: weight.detach().cpu().contiguous() for name, weight in _learning(model).items()}
        try:
            save_file(weights, self._aside, metadata={"step": str(step), "rank": repr(rank)})
            self._aside.replace(self._file)
        finally:
            self._aside.unlink(missing_ok=True)  # half-written it would take the room that the next try needs


def forget(directory: RunDirectory) -> None:
    """Remove the kept weights, and what a kill left half-written of them: the run is finished."""
    for file in (directory.best, _aside(directory)):
        file.unlink(missing_ok=True)


def _aside(directory: RunDirectory) -> Path:
    return directory.best.with_name(f".{directory.best.name}-new")


def _measured(directory: RunDirectory) -> dict[int, float]:
    """The measurements of earlier starts of the run by step."""
    found: dict[int, float] = {}
    for event in directory.events()[0]:
        if event["event"] == "eval" and event.get("which") == "during" and (value := _rank(event)) is not None:
            found[int(event["step"])] = value
    return found


def _rank(scores: Mapping[str, Any]) -> float | None:
    """How good a measurement is, lower is better; None when it has nothing to judge by."""
    if (found := judged(scores)) is None:
        return None
    value, higher_is_better = found
    return math.inf if not math.isfinite(value) else -value if higher_is_better else value


def _learning(model: Any) -> dict[str, Any]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
