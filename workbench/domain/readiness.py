"""Is a dataset ready to train a model on? The rules, their thresholds and where each is from, in one table.

Owns the verdict. Knows no store: it is given the few facts that the rules look at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workbench.domain.examples import Content, Kind

OPENAI = "OpenAI, fine-tuning guide: at least 10 examples; clear improvements from 50 to 100"
UNSLOTH = "Unsloth documentation, 'What model should I use?': under 300 rows instruct, over 1,000 base"
LIMA = "Zhou et al. 2023, LIMA (arXiv:2305.11206): 1,000 curated examples"
OVADIA = "Ovadia et al. 2023 (arXiv:2312.05934): retrieval teaches facts better; the threshold is our own rule"
TRL = "TRL documentation, KTO trainer: between 1:1 and 4:3 after weighting; the limit is our own rule"
OWN = "own rule"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at. ``kind`` is that of most accepted rows, ``usable`` those outside the test split.

    ``chat_template`` says whether the model is an instruct model; None when its files do not say. ``facts_share`` is
    the share of the names and numbers in the answers that stand in one answer only and not in its prompt.
    """

    accepted: int
    pending: int
    usable: int
    kind: Kind | None
    held_out: int
    test: int
    errors: int
    chat_template: bool | None
    facts_share: float | None
    self_similarity: float | None = None
    ups: int = 0
    downs: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table: when ``fires``, it says what to do. ``decides`` is approach, start, missing or advice.

    The first rule that fires decides the approach, and the first decides the start; of the others all are told.
    """

    name: str
    decides: str
    answer: str
    threshold: float
    fires: Callable[[Facts, float], bool]
    reason: str
    source: str


@dataclass(slots=True)
class FactCounter:
    """Counts the names and numbers that answers bring in: what their prompt does not say.

    A rough measure: capitalised words inside a sentence, and numbers.
    """

    _rows: Counter[str] = field(default_factory=Counter)

    def add(self, content: Content) -> None:
        """One more row."""
        asked = " ".join(turn.content for turn in content.prompt).casefold()
        told = {found for turn in content.chosen for found in _FACT.findall(turn.content)}
        self._rows.update(found for found in told if found.casefold() not in asked)

    def share(self) -> float | None:
        """The share of those that stand in one answer only; None when there are too few to tell."""
        total = self._rows.total()
        return sum(n for n in self._rows.values() if n == 1) / total if total >= _FEWEST_FACTS else None


_FACT = re.compile(r"(?<=[\w,;:] )[A-Z][\w-]+|\d[\d.,:/-]*\d|\d")
_FEWEST_FACTS = 20

APPROACH, START, MISSING, ADVICE = "approach", "start", "missing", "advice"

RULES = (
    Rule("too-few", APPROACH, "prompting", 10, lambda f, n: f.usable < n,
         "under {n:g} accepted rows a model learns nothing that examples in the prompt would not teach it", OPENAI),
    Rule("new-facts", APPROACH, "retrieval", 0.5, lambda f, n: f.facts_share is not None and f.facts_share > n,
         "more than {n:.0%} of the names and numbers in the answers stand in one row only: look them up", OVADIA),
    Rule("few", APPROACH, "prompting first", 50, lambda f, n: f.usable < n,
         "under {n:g} accepted rows the gain is uncertain: try them as examples in the prompt beside it", OPENAI),
    Rule("enough", APPROACH, "fine-tuning", 50, lambda f, n: f.usable >= n,
         "from {n:g} accepted rows on a tuned model is usually clearly better than its base", OPENAI),
    Rule("texts", START, "base", 0, lambda f, n: f.kind is Kind.TEXT,
         "plain texts continue the training of a base model; an instruct model forgets how to answer", OWN),
    Rule("instruct", START, "instruct", 300, lambda f, n: f.usable < n,
         "under {n:g} rows do not teach a base model to answer: start from an instruct model", UNSLOTH),
    Rule("either", START, "instruct or base", 1000, lambda f, n: f.usable < n,
         "from 300 to {n:g} rows both work; an instruct model needs fewer", UNSLOTH),
    Rule("base", START, "base or instruct", 1000, lambda f, n: f.usable >= n,
         "{n:g} rows and more can teach a base model how to answer", LIMA),
    Rule("pending", ADVICE, "decide about the pending rows", 0, lambda f, n: f.pending > n and f.usable < 1000,
         "pending rows are not trained on", OWN),
    Rule("more-rows", MISSING, "collect more accepted rows", 50, lambda f, n: f.usable < n,
         "clear improvements begin at {n:g}", OPENAI),
    Rule("no-held-out", MISSING, "deal a validation split (datasets split)", 0, lambda f, n: f.held_out <= n,
         "without held-out rows nobody can see whether training helps", OWN),
    Rule("no-test", ADVICE, "lock a test split (datasets split --test 0.1)", 200,
         lambda f, n: f.usable >= n and not f.test,
         "from {n:g} rows on some can be spared to judge the result once", OWN),
    Rule("errors", MISSING, "mend or reject the rows with errors (check --fix)", 0, lambda f, n: f.errors > n,
         "training is refused while a check finds errors", OWN),
    Rule("no-template", MISSING, "an instruct model, or far more rows", 1000,
         lambda f, n: f.chat_template is False and f.usable < n and f.kind is not Kind.TEXT,
         "the model has no chat template: it is a base model, and under {n:g} rows do not teach it to answer", UNSLOTH),
    Rule("lopsided", MISSING, "more thumbs of the other sort", 4,
         lambda f, n: f.kind is Kind.JUDGEMENT and max(f.ups, f.downs) > n * min(f.ups, f.downs),
         "one sort of thumb is more than {n:g} times the other", TRL),
    Rule("alike", ADVICE, "more varied answers", 0.6,
         lambda f, n: f.self_similarity is not None and f.self_similarity > n,
         "on average an answer has more than {n:.0%} of its word pairs from another answer", OWN),
)  # fmt: skip
"""Read from the top. ``n`` in a reason is the threshold."""


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule that fired, in words."""

    rule: str
    answer: str
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """The verdict: what to do, what model to start from, what is missing or would help, and which rules said so."""

    ready: bool
    approach: Fired
    start: Fired
    missing: tuple[Fired, ...]
    advice: tuple[Fired, ...]
    facts: Facts

    def as_dict(self) -> dict[str, Any]:
        """The verdict as ``--json`` prints it."""
        return asdict(self)


def readiness(facts: Facts, rules: Sequence[Rule] = RULES) -> Readiness:
    """The verdict of the table. Ready means: fine-tuning is the approach, and nothing is missing."""
    fired = [
        (rule.decides, Fired(rule.name, rule.answer, rule.reason.format(n=rule.threshold), rule.source))
        for rule in rules
        if rule.fires(facts, rule.threshold)
    ]
    approach, start = (next(one for decides, one in fired if decides == wanted) for wanted in (APPROACH, START))
    missing, advice = (tuple(one for decides, one in fired if decides == wanted) for wanted in (MISSING, ADVICE))
    return Readiness(approach.answer == "fine-tuning" and not missing, approach, start, missing, advice, facts)
