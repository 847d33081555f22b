"""What a run's own numbers say about it, a sentence each: overfitting, a plateau, answers that drift in length, and
forgetting.

Pure functions over curves and measurements. Every threshold stands in ``LIMITS`` with what it means. Knows no files.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from statistics import fmean

from workbench.domain.runs import MORE_IS_BETTER

Point = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Limit:
    """One threshold: its value, and what is said when it is passed."""

    value: float
    means: str


LIMITS = {
    "overfit_rise": Limit(0.02, "held-out loss at the end, this share above its lowest point: it overfits"),
    "same": Limit(0.005, "held-out figure at the end, no further than this share from the one before: nothing changed"),
    "fading": Limit(0.10, "loss of the better answers of pairs, this share above the one before: they fade as well"),
    "plateau_blocks": Limit(8, "a curve is looked at in so many equal parts"),
    "plateau_points": Limit(24, "and only when it has so many points"),
    "plateau_tail": Limit(0.375, "the part of the steps at the end that must be flat"),
    "plateau_fall": Limit(
        0.03, "flat: no part further from the mean of all at the end than this share of the whole fall"
    ),
    "plateau_noise": Limit(4.0, "or than so many standard errors of a part's mean"),
    "plateau_change": Limit(
        0.1, "and it changed there by no more than this share of itself, or that of the whole fall"
    ),
    "length_share": Limit(0.5, "answers this share longer or shorter than before: they drift"),
    "length_tokens": Limit(8, "and by at least so many tokens"),
    "loop_share": Limit(0.5, "share of three-word sequences in an answer that are repetitions: it runs in circles"),
    "retention": Limit(0.10, "loss on general text this share above the one before: it forgot"),
}
"""The thresholds in one place; ``retention`` is only the default of the setting ``training.retention_limit``."""


MEASURES = {
    "loss": "held-out loss",
    "pair_loss": "held-out loss of the pairs",
    "divergence": "held-out divergence from the teacher",
    "reward": "held-out reward",
}
"""What a run is judged by on held-out rows, as it is called in sentences."""


class Level(StrEnum):
    """How loud a finding is."""

    GOOD = "good"
    NOTE = "note"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class RunFinding:
    """One thing that the numbers say: a short name, how loud, and the sentence for the person."""

    name: str
    level: Level
    said: str


@dataclass(frozen=True, slots=True)
class Retention:
    """What a run did to the rest: the loss on general text before and after (None: not measured), over so many tokens,
    and the answers to the canary prompts before and after.
    """

    base_loss: float | None = None
    loss: float | None = None
    rows: int = 0
    tokens: int = 0
    source: str = ""
    limit: float = LIMITS["retention"].value
    canaries: tuple[Canary, ...] = ()

    @property
    def change(self) -> float | None:
        """The loss after, as share above the loss before; None when it was not measured."""
        if self.base_loss is None or self.loss is None or self.base_loss <= 0:
            return None
        return self.loss / self.base_loss - 1.0


@dataclass(frozen=True, slots=True)
class Canary:
    """One prompt that has nothing to do with the task, and what was answered before and after."""

    prompt: str
    base: str
    tuned: str


@dataclass(frozen=True, slots=True)
class RunNumbers:
    """What a run measured. Curves are (step, value) in order; ``held_out`` begins with the figure before training.

    That figure is ``measure``: the loss, of pairs that of the pairs, of answers that are drawn their reward, ``gains``
    what was measured beside it, before and after, by name. ``kept_step`` is the step whose weights are the result,
    where that is not the last one. ``answer_tokens`` are the mean lengths of its own answers over the steps, for
    methods that draw them. ``quantization`` is how the frozen base was held: "none", "4bit" or "8bit".
    """

    loss: Sequence[Point] = ()
    held_out: Sequence[Point] = ()
    measure: str = "loss"
    kept_step: int | None = None
    answer_tokens: Sequence[Point] = ()
    retention: Retention = field(default_factory=Retention)
    gains: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    quantization: str = "none"


def findings(numbers: RunNumbers) -> list[RunFinding]:
    """All that the numbers say, the loudest first; empty when there is nothing to say."""
    found = [
        *held_out_result(numbers.held_out, numbers.kept_step, measure=numbers.measure),
        *overfitting(numbers.held_out, numbers.kept_step, measure=numbers.measure),
        *preferring(numbers.gains),
        *fading(numbers.gains, measure=numbers.measure),
        *not_a_number(numbers.loss),
        *plateau(numbers.loss),
        *length_drift(numbers.answer_tokens),
        *forgetting(numbers.retention),
        *canary_findings(numbers.retention.canaries),
        *quantised(numbers),
    ]
    order = [Level.WARNING, Level.NOTE, Level.GOOD]
    return sorted(found, key=lambda one: order.index(one.level))


def held_out_result(
    held_out: Sequence[Point], kept_step: int | None = None, *, measure: str = "loss"
) -> Iterator[RunFinding]:
    """Whether it does better than before on rows that it was not trained on."""
    points = _finite(held_out)
    if len(points) < 2:
        return
    before, after = points[0][1], _at(points, kept_step)
    rise = before - after if measure in MORE_IS_BETTER else after - before
    figures = f"{MEASURES[measure]} {before:.3g} → {after:.3g} ({_percent(before, after)})"
    if rise == 0 and measure != "reward" and kept_step != 0:
        said = f"Nothing changed: the {MEASURES[measure]} is {before:.3g} as before, to the last digit."
        hint = "Did anything learn? Look at learning_rate, and at what is trained (adapter, target_modules, unfreeze)."
        yield RunFinding("unchanged", Level.WARNING, f"{said} {hint}")
    elif abs(rise) <= LIMITS["same"].value * abs(before):
        yield RunFinding("same", Level.NOTE, f"It is as good as before on rows it was not trained on: {figures}.")
    elif rise > 0:
        said = f"It got worse on rows it was not trained on: {figures}."
        yield RunFinding("worse", Level.WARNING, f"{said} A lower learning_rate or fewer epochs lose less.")
    else:
        yield RunFinding("better", Level.GOOD, f"It got better on rows it was not trained on: {figures}.")


def overfitting(
    held_out: Sequence[Point], kept_step: int | None = None, *, measure: str = "loss"
) -> Iterator[RunFinding]:
    """Whether the held-out loss rose again after its lowest point; needs a measurement between start and end.

    With the weights of an earlier step kept it is no harm that was done, only a note. Of a reward, whose scale is
    anybody's, nothing is said.
    """
    points = _finite(held_out)
    if len(points) < 3 or measure in MORE_IS_BETTER:
        return
    best_step, best = min(points, key=lambda point: point[1])
    last_step, last = points[-1]
    if best_step in {points[0][0], last_step} or last <= best * (1 + LIMITS["overfit_rise"].value):
        return
    where = f"the {MEASURES[measure]} was lowest at step {best_step} ({best:.3g})"
    rise = f"{last:.3g} at step {last_step} ({_percent(best, last)})"
    if kept_step is not None and kept_step < last_step:
        said = f"It overfitted in the end, and kept the weights of step {kept_step}: {where} and came to {rise}."
        yield RunFinding("overfitting", Level.NOTE, said)
        return
    said = f"It overfits: {where} and is {rise}. About {best_step} steps would have been enough."
    yield RunFinding("overfitting", Level.WARNING, said)


def preferring(gains: Mapping[str, tuple[float, float]]) -> Iterator[RunFinding]:
    """How often the better answer is told from the worse one, where that was measured."""
    if "accuracy" not in gains:
        return
    before, after = gains["accuracy"]
    margin = "; reward margin {:.3g} → {:.3g}".format(*gains["margin"]) if "margin" in gains else ""
    level = Level.GOOD if after > before else Level.WARNING if after < before else Level.NOTE
    said = f"It tells better from worse in {after:.0%} of the held-out rows ({before:.0%} before){margin}."
    yield RunFinding("preference", level, said)


def fading(gains: Mapping[str, tuple[float, float]], *, measure: str) -> Iterator[RunFinding]:
    """Whether the better answers became less likely too, while the worse ones fell further."""
    if measure != "pair_loss" or "loss" not in gains:
        return
    before, after = gains["loss"]
    if after <= before * (1 + LIMITS["fading"].value):
        return
    said = f"The better answers became less likely as well: their held-out loss {before:.3g} → {after:.3g}"
    hint = "A higher beta, a lower learning_rate or an SFT term (sft_weight) holds them."
    yield RunFinding("fading", Level.WARNING, f"{said} ({_percent(before, after)}). {hint}")


def not_a_number(loss: Sequence[Point]) -> Iterator[RunFinding]:
    """Where the loss stopped being a number."""
    if bad := next((step for step, value in loss if not math.isfinite(value)), None):
        yield RunFinding("nan", Level.WARNING, f"The loss was not a number at step {bad}: lower learning_rate.")


def plateau(loss: Sequence[Point]) -> Iterator[RunFinding]:
    """Whether the training loss stood still over the last part of the run, or never moved at all."""
    points = _finite(loss)
    blocks = int(LIMITS["plateau_blocks"].value)
    if len(points) < max(blocks, LIMITS["plateau_points"].value):
        return
    edges = [round(i * len(points) / blocks) for i in range(blocks + 1)]
    means = [fmean(v for _, v in points[a:b]) for a, b in pairwise(edges)]
    fall = means[0] - means[-1]
    if abs(fall) <= LIMITS["plateau_fall"].value * abs(means[0]):
        said = f"The training loss did not move: {means[0]:.3g} at the beginning, {means[-1]:.3g} at the end."
        yield RunFinding("flat", Level.WARNING, f"{said} A higher learning_rate, or a look at the rows.")
        return
    noise = _noise([v for _, v in points]) / math.sqrt(len(points) / blocks)
    near = max(LIMITS["plateau_fall"].value * abs(fall), LIMITS["plateau_noise"].value * noise)
    first = next(k for k in range(blocks) if all(abs(m - fmean(means[k:])) <= near for m in means[k:]))
    if fall <= 0 or (blocks - first) / blocks < LIMITS["plateau_tail"].value:
        return
    small = max(LIMITS["plateau_change"].value * abs(means[first]), LIMITS["plateau_fall"].value * fall)
    if abs(means[first] - means[-1]) > small:
        return
    step, last = points[edges[first]][0], points[-1][0]
    said = f"The training loss hardly moved from step {step} to {last} ({means[first]:.3g} → {means[-1]:.3g})."
    yield RunFinding("plateau", Level.NOTE, f"{said} Fewer steps would have done.")


def length_drift(answer_tokens: Sequence[Point]) -> Iterator[RunFinding]:
    """Whether the model's own answers became much longer or shorter over the run."""
    points = _finite(answer_tokens)
    if len(points) < 2:
        return
    end = max(1, len(points) // 10)
    before = fmean(v for _, v in points[:end])
    after = fmean(v for _, v in points[-end:])
    yield from _drift(before, after, "Its answers")


def forgetting(retention: Retention) -> Iterator[RunFinding]:
    """Whether the loss on general text rose beyond the limit."""
    change = retention.change
    if change is None or retention.base_loss is None or retention.loss is None:
        return
    figures = f"loss on general text {retention.base_loss:.3g} → {retention.loss:.3g} ({100 * change:+.0f} %)"
    if change <= retention.limit:
        said = f"It kept what it could do: {figures}, within the limit of {100 * retention.limit:.3g} %."
        yield RunFinding("kept", Level.GOOD, said)
        return
    said = (
        f"It forgot: {figures}, beyond the limit of {100 * retention.limit:.3g} %. "
        "Fewer epochs, a lower learning_rate, or general rows among the training data keep more."
    )
    yield RunFinding("forgot", Level.WARNING, said)


def canary_findings(canaries: Sequence[Canary]) -> Iterator[RunFinding]:
    """What became of the answers to prompts that have nothing to do with the task."""
    if not canaries:
        return
    silent = [c for c in canaries if c.base.strip() and not c.tuned.strip()]
    loops = [c for c in canaries if is_looping(c.tuned) and not is_looping(c.base)]
    for name, found, what in (("silent", silent, "is not answered any more"), ("loops", loops, "runs in circles")):
        if found:
            said = f"{len(found)} of {len(canaries)} canary prompts {what}, such as {found[0].prompt!r}."
            yield RunFinding(name, Level.WARNING, said)
    words = [fmean(len(text.split()) for text in texts) for texts in _texts(canaries)]
    yield from _drift(words[0], words[1], "Its answers to the canary prompts", unit="words")
    changed = sum(c.base != c.tuned for c in canaries)
    yield RunFinding("canaries", Level.NOTE, f"{changed} of {len(canaries)} canary prompts are answered otherwise.")


def quantised(numbers: RunNumbers) -> Iterator[RunFinding]:
    """That the figures are those over a base in fewer bits, which need not be how it will answer."""
    if numbers.quantization == "none" or len(numbers.held_out) < 2:
        return
    bits = numbers.quantization.removesuffix("bit")
    said = f"Measured over a base in {bits} bits. Over one in more bits it answers a little otherwise"
    hint = f"with engine.precision = {numbers.quantization} it answers as measured"
    yield RunFinding("quantised", Level.NOTE, f"{said}; {hint}.")


def is_looping(text: str) -> bool:
    """True when most sequences of three words in the text were there before."""
    words = re.findall(r"\w+", text.lower())
    threes = Counter(zip(words, words[1:], words[2:], strict=False))
    total = threes.total()
    return total >= 8 and (total - len(threes)) / total > LIMITS["loop_share"].value


def _texts(canaries: Sequence[Canary]) -> tuple[list[str], list[str]]:
    return [c.base for c in canaries], [c.tuned for c in canaries]


def _drift(before: float, after: float, whose: str, *, unit: str = "tokens") -> Iterator[RunFinding]:
    if before <= 0 or abs(after - before) < LIMITS["length_tokens"].value:
        return
    if abs(after / before - 1) < LIMITS["length_share"].value:
        return
    how = "longer" if after > before else "shorter"
    said = f"{whose} became much {how}: {before:.0f} → {after:.0f} {unit} on average."
    yield RunFinding("length", Level.WARNING, said)


def _noise(values: Sequence[float]) -> float:
    """The spread of single values around a smooth curve: from the differences of neighbours, by their median."""
    steps = sorted(abs(b - a) for a, b in pairwise(values))
    return steps[len(steps) // 2] / (0.6745 * math.sqrt(2)) if steps else 0.0


def _finite(points: Sequence[Point]) -> list[Point]:
    return [(step, value) for step, value in points if math.isfinite(value)]


def _at(points: Sequence[Point], step: int | None) -> float:
    """The value at a step; the last one where there is none."""
    return next((value for at, value in points if at == step), points[-1][1])


def _percent(before: float, after: float) -> str:
    return f"{100 * (after - before) / abs(before):+.0f} %" if before else "from 0"
