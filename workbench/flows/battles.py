"""Votes as battles, a file that FastChat's scripts make rankings of.

Owns which votes go into it and what its scripts want to know of each answer: how many tokens and how much markup.
Source: https://github.com/lm-sys/FastChat/tree/main/fastchat/serve/monitor
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from workbench.domain.chats import Role, Turn
from workbench.domain.comparisons import Candidate, Comparison, RaterKind, Rating, Vote
from workbench.domain.counting import counted as counted_of
from workbench.domain.models import Model, ModelKind
from workbench.domain.results import counted, first_votes, of_random_prompts
from workbench.errors import NotFoundError, RefusedError, WorkbenchError
from workbench.flows import unseen
from workbench.jobs.counting import count_tokens

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

_WINNERS = {"left": "model_a", "right": "model_b", "tie": "tie", "both-bad": "tie (bothbad)"}


def battles(bench: Bench, tokens: Tokens | None = None) -> Iterator[dict[str, object]]:
    """Every vote of a person that a rate may rest on as one of FastChat's cleaned battles; its side a is the left one.

    What is made of them is a ranking: votes on prompts that were asked because the models differ there stay out, and a
    person's further votes on the same two answers. Votes on pairs that wait for this rater are left out.
    """
    for comparison, rating in _rated(bench):
        yield _battle(comparison, rating, tokens or Tokens())


def _rated(bench: Bench) -> Iterator[tuple[Comparison, Rating]]:
    raters: dict[int, set[str]] = {}
    for vote in unseen.told(bench, _resting(bench))[0]:
        raters.setdefault(vote.comparison_id, set()).add(vote.rater)
    for comparison_id in sorted(raters):
        comparison = bench.store.comparisons.get(comparison_id)
        for rating in bench.store.comparisons.ratings(comparison_id):
            is_counted = not rating.undone and rating.blind and rating.kind is RaterKind.HUMAN
            if is_counted and rating.rater in raters[comparison_id] and rating.verdict.value in _WINNERS:
                yield comparison, rating


def _resting(bench: Bench) -> list[Vote]:
    """People's votes that a rate may rest on."""
    resting = of_random_prompts(first_votes(counted(bench.store.comparisons.votes())))
    return [vote for vote in resting if vote.rater]


def _battle(comparison: Comparison, rating: Rating, tokens: Tokens) -> dict[str, object]:
    said = [_said(comparison, candidate) for candidate in (comparison.left, comparison.right)]
    return {
        "question_id": str(comparison.id),
        "model_a": comparison.left.model,
        "model_b": comparison.right.model,
        "winner": _WINNERS[rating.verdict.value],
        "judge": rating.rater,
        "conversation_a": tokens.counted(said[0]),
        "conversation_b": tokens.counted(said[1]),
        "turn": sum(turn.role == Role.USER for turn in comparison.prompt),
        "anony": True,
        "language": "unknown",
        "tstamp": datetime.fromisoformat(rating.created_utc).timestamp(),
        "conv_metadata": {
            **tokens.sums(comparison.prompt, said),
            **{f"{name}_{side}": count for side, turns in zip("ab", said, strict=True)
               for name, count in markup(_answered(turns)).items()},
        },
    }  # fmt: skip


def _said(comparison: Comparison, candidate: Candidate) -> list[dict[str, object]]:
    return [*(turn.as_dict() for turn in comparison.prompt), {"role": "assistant", "content": candidate.text}]


def _answered(turns: Sequence[Mapping[str, object]]) -> str:
    return "\n".join(str(turn["content"]) for turn in turns if turn["role"] == Role.ASSISTANT)


@dataclass(frozen=True, slots=True)
class Tokens:
    """How many tokens each text has, by one tokenizer for both sides; empty when there is none here to count with."""

    tokenizer: str = ""
    of: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def counted(self, turns: Sequence[dict[str, object]]) -> list[dict[str, object]]:
        """The turns, each with its number of tokens."""
        return [turn | ({"num_tokens": self.of[str(turn["content"])]} if self.tokenizer else {}) for turn in turns]

    def sums(self, prompt: Sequence[Turn], said: Sequence[Sequence[Mapping[str, object]]]) -> dict[str, object]:
        """The tokens of the person and of each side's answers, and who counted them."""
        if not self.tokenizer:
            return {}
        asked = sum(self.of[turn.content] for turn in prompt if turn.role == Role.USER)
        answers = [sum(self.of[str(t["content"])] for t in turns if t["role"] == Role.ASSISTANT) for turns in said]
        names = ("sum_user_tokens", "sum_assistant_a_tokens", "sum_assistant_b_tokens")
        return {**dict(zip(names, (asked, *answers), strict=True)), "tokenizer": self.tokenizer}


def markup(text: str) -> dict[str, dict[str, int]]:
    """Headings, list items and bold texts of an answer outside its code blocks, as ``--style-control`` weighs them.

    Source: https://github.com/lm-sys/FastChat/blob/main/fastchat/serve/monitor/add_markdown_info.py
    """
    plain = _CODE.sub("", text)
    return {
        name: {kind: len(pattern.findall(plain)) for kind, pattern in kinds.items()} for name, kinds in _MARKUP.items()
    }


_CODE = re.compile("```[^`]*```")
_MARKUP = {
    "header_count": {f"h{depth}": re.compile(rf"^#{{{depth}}}\s", re.MULTILINE) for depth in range(1, 7)},
    "list_count": {
        "ordered": re.compile(r"^\s*\d+\.\s", re.MULTILINE),
        "unordered": re.compile(r"^\s*[-*+]\s", re.MULTILINE),
    },
    "bold_count": {"**": re.compile(r"\*\*[^*\n]+\*\*"), "__": re.compile(r"__[^_\n]+__")},
}


def tokens_of(bench: Bench) -> Tokens:
    """The tokens of everything that battles hold, by the tokenizer that most of their answers were made with.

    Where none of the models' tokenizers is on this machine, that of the workspace's default model counts; none without.
    """
    comparisons = {comparison.id: comparison for comparison, _ in _rated(bench)}.values()
    made_by = Counter(candidate.model for one in comparisons for candidate in (one.a, one.b))
    if (base := _tokenizer(bench, made_by)) is None:
        return Tokens()
    turns = (turn for one in comparisons for side in (one.a, one.b) for turn in _said(one, side))
    texts = list(dict.fromkeys(str(turn["content"]) for turn in turns))
    if not texts:
        return Tokens()
    counts = count_tokens(Path(base.path), texts)
    return Tokens(base.name, dict(zip(texts, counts, strict=True)))


def _tokenizer(bench: Bench, made_by: Mapping[str, int]) -> Model | None:
    """The base whose answers are the most, among those whose files are here."""
    answers: Counter[str] = Counter()
    bases: dict[str, Model] = {}
    for model in bench.store.models.list():
        name = model.base if model.kind is ModelKind.ADAPTER else model.name
        answers[name] += made_by.get(model.name, 0)
        if model.kind is ModelKind.BASE and any((Path(model.path) / one).is_file() for one in _TOKENIZERS):
            bases[name] = model
    return max(bases.values(), key=lambda base: answers[base.name], default=None)


_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


LONG = 768
"""Tokens of one side's conversation from which FastChat counts a battle to its category ``long``."""

_NO_TOKENS = "no tokenizer here counts tokens: --category long and --style-control do not run on it"
_ALIKE = "--style-control tells nothing here: two answers never differ in {}"
_NO_LONG = f"no battle is of the category long ({LONG} tokens or more)"


_STYLES = {
    "sum_assistant_{}_tokens": "length",
    "header_count_{}": "headings",
    "list_count_{}": "lists",
    "bold_count_{}": "bold text",
}


def alike(rows: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """In what the two sides of all battles differ by the same share, so that style control divides nothing by nothing.

    Source: https://github.com/lm-sys/FastChat/blob/main/fastchat/serve/monitor/rating_systems.py
    """
    found = []
    for field_name, what in _STYLES.items():
        shares = set()
        for row in rows:
            metadata = row["conv_metadata"]
            assert isinstance(metadata, Mapping)
            a, b = (_total(metadata.get(field_name.format(side), 0)) for side in "ab")
            shares.add((a - b) / (a + b + 1))
        found += [what] if len(shares) == 1 else []
    return tuple(found)


def _is_long(row: Mapping[str, object]) -> bool:
    return any(_tokens(row[name]) >= LONG for name in ("conversation_a", "conversation_b"))


def _tokens(conversation: object) -> int:
    return sum(turn.get("num_tokens", 0) for turn in conversation) if isinstance(conversation, list) else 0


def _total(value: object) -> int:
    return sum(value.values()) if isinstance(value, Mapping) else int(str(value))


@dataclass(frozen=True, slots=True)
class Written:
    """Battles in a file. ``waiting`` counts votes that are left out: their pairs wait for a vote of who exports.

    ``differing`` counts those on prompts that were asked because the models differ there. ``tokenizer`` is the base
    whose tokenizer counted the tokens ("": nobody did), ``alike`` in what the sides never
    differ, so that style control divides by nothing, and ``long`` counts the battles of that category.
    """

    file: Path
    battles: int
    waiting: int
    differing: int
    tokenizer: str = ""
    alike: tuple[str, ...] = ()
    long: int = 0

    @property
    def said(self) -> str:
        """One sentence."""
        said = [f"{counted_of(self.battles, 'battles')} {'is' if self.battles == 1 else 'are'} in {self.file}"]
        said += [unseen.left_out(self.waiting)] if self.waiting else []
        said += [f"{counted_of(self.differing, 'votes')} where models differ most left out"] if self.differing else []
        said += [f"tokens counted by {self.tokenizer}'s tokenizer" if self.tokenizer else _NO_TOKENS]
        said += [_ALIKE.format(", ".join(self.alike))] if self.alike and self.tokenizer else []
        said += [_NO_LONG] if self.tokenizer and not self.long else []
        return "; ".join(said)


def export_battles(bench: Bench, to: Path, *, replace: bool | Callable[[Path], bool] = False) -> Written:
    """Write all battles as the JSON array that FastChat's ``elo_analysis.py --clean-battle-file`` reads.

    A file that is there is replaced when ``replace`` says so. Raises ``NotFoundError`` without votes, ``RefusedError``
    when all of them are left out or the file stays, ``WorkbenchError`` when it cannot be written.
    Source: https://github.com/lm-sys/FastChat/blob/main/fastchat/serve/monitor/elo_analysis.py
    """
    tokens = tokens_of(bench)
    rows, waiting = list(battles(bench, tokens)), len(unseen.told(bench, _resting(bench))[1])
    if not rows and waiting:
        raise RefusedError("every pair that was voted on waits for your vote", hint=unseen.HINT)
    every = [vote for vote in first_votes(counted(bench.store.comparisons.votes())) if vote.rater]
    differing = len(every) - len(of_random_prompts(every))
    if not rows:
        why = "all votes are on prompts that were asked because the models differ there" if differing else ""
        raise NotFoundError("there are no votes to write", hint=why or "workbench rate, or the Arena")
    if os.path.lexists(to) and not (replace(to) if callable(replace) else replace):
        raise RefusedError(f"{to.name} exists already", hint="--yes replaces it; or give another name", where=str(to))
    part = to.with_name(f".{to.name}.{secrets.token_hex(4)}.tmp")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(to)
    except OSError as error:
        raise WorkbenchError(f"the file cannot be written: {error.strerror}", where=str(to)) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return Written(to, len(rows), waiting, differing, tokens.tokenizer, alike(rows), sum(map(_is_long, rows)))
