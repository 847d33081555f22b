"""Data checks described as data: what each looks at, how bad what it finds is, and what mends it.

A check is one file in ``workbench.checks``. A row check looks at one content alone; a set check reads many rows and
tells what only shows among them. Nothing here deletes: a finding flags, and a fix edits, redacts or rejects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from workbench.domain.chats import Turn, turns_from_dicts
from workbench.domain.examples import Content, Example, Kind, Split


class Severity(StrEnum):
    """``ERROR`` keeps a row out of training until it is dealt with; ``WARNING`` flags it; ``INFO`` only tells."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class FixKind(StrEnum):
    """What mending does to an example. ``REDACT`` is an edit whose original is kept until the example is exported."""

    EDIT = "edit"
    REDACT = "redact"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a content: ``part`` is prompt, chosen or rejected, ``turn`` counts from 0, the rest are characters.

    ``end`` 0 means the turn as a whole.
    """

    part: str
    turn: int = 0
    start: int = 0
    end: int = 0

    def __str__(self) -> str:
        where = f"{self.part} turn {self.turn + 1}"
        return f"{where}, characters {self.start + 1}-{self.end}" if self.end else where


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found, in plain words. ``example_id`` None concerns the rows as a whole.

    ``check`` and ``example_id`` are filled in by whoever runs the check. ``fixable`` says that the check's fix helps.
    """

    severity: Severity
    reason: str
    place: str = ""
    fixable: bool = False
    example_id: int | None = None
    check: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON has it."""
        return asdict(self) | {"severity": self.severity.value}


def finding_from_dict(row: Mapping[str, Any]) -> Finding:
    """The finding that ``as_dict`` gave."""
    return Finding(**{**row, "severity": Severity(row["severity"])})


@dataclass(frozen=True, slots=True)
class Language:
    """The language that an example's answer is written in, as a two-letter code."""

    example_id: int
    code: str


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """An example as a set check sees it. ``comparison_id`` is set for a pair that was made from a vote."""

    id: int
    dataset: str
    content: Content
    split: Split = Split.NONE
    comparison_id: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The row as it is sent to a child process."""
        content = self.content
        return {
            "id": self.id,
            "dataset": self.dataset,
            "split": self.split.value,
            "comparison_id": self.comparison_id,
            "kind": content.kind.value,
            "prompt": [t.as_dict() for t in content.prompt],
            "chosen": [t.as_dict() for t in content.chosen],
            "rejected": [t.as_dict() for t in content.rejected],
            "label": content.label,
            "tools": content.tools,
        }


def checked_row(example: Example) -> CheckedRow:
    """What a set check needs of a stored example."""
    return CheckedRow(example.id, example.dataset, example.content, example.split, example.source.comparison_id)


def checked_row_from_dict(row: Mapping[str, Any]) -> CheckedRow:
    """The row that ``as_dict`` gave."""
    content = Content(
        Kind(row["kind"]),
        turns_from_dicts(row["prompt"]),
        turns_from_dicts(row["chosen"]),
        turns_from_dicts(row["rejected"]),
        row["label"],
        row["tools"],
    )
    return CheckedRow(row["id"], row["dataset"], content, Split(row["split"]), row["comparison_id"])


@dataclass(frozen=True, slots=True)
class ComparedPrompt:
    """A prompt on which models were compared; ``voted`` when somebody has decided on it."""

    comparison_id: int
    prompt: tuple[Turn, ...]
    voted: bool


@dataclass(frozen=True, slots=True)
class HeldOutRow:
    """A row that a model is measured on. ``strict``: training on it is an error whatever dataset it comes from.

    One that is not strict is an error in its own dataset's validation split, and else worth a warning.
    """

    row: CheckedRow
    strict: bool


@dataclass(frozen=True, slots=True)
class TokenCount:
    """One sequence of a row in the model's tokens. ``part`` is chosen, rejected or completion.

    ``kept`` is how many of ``total`` tokens fit the window, ``prompt`` how many of them come before the answer, and
    ``learnt`` how many are in the loss after the cut.
    """

    example_id: int
    part: str
    prompt: int
    total: int
    kept: int
    learnt: int


class Tokens(Protocol):
    """The model's tokenizer as a trainer uses it; only a child process has one."""

    max_length: int

    def counts(self, rows: Iterable[CheckedRow]) -> Iterator[TokenCount]:
        """The length of every sequence that training on these rows would make."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a set check may look at besides its rows. ``tokens`` is None outside a child that was given a model.

    ``held_out`` can be read once, by the one check that needs it; what matters most comes first.
    """

    held_out: Iterable[HeldOutRow] = ()
    compared: Sequence[ComparedPrompt] = ()
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Fix:
    """What mends the findings of a check, in the words of an order (``remove the tokens``).

    ``edit`` gives the mended content for ``EDIT`` and ``REDACT``; mending a mended content changes nothing.
    """

    kind: FixKind
    said: str
    edit: Callable[[Content], Content] | None = None


@dataclass(frozen=True, slots=True)
class RowCheck:
    """A check of one content by itself. ``cheap`` ones also run while rows are imported."""

    name: str
    title: str
    summary: str
    look: Callable[[Content], Iterable[Finding]]
    cheap: bool = True
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class SetCheck:
    """A check of many rows together: reads them once, in order, and may keep only what is bounded.

    ``in_child`` ones import large libraries and run in a process of their own; ``needs_model`` ones need a tokenizer,
    ``needs_references`` ones what models are measured and compared on.
    """

    name: str
    title: str
    summary: str
    look: Callable[[Iterable[CheckedRow], Surroundings], Iterator[Finding | Language]]
    in_child: bool = False
    needs_model: bool = False
    needs_references: bool = False
    fix: Fix | None = None


Check = RowCheck | SetCheck


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a content and its place."""

    part: str
    turn: int
    role: str
    text: str

    def place(self, start: int = 0, end: int = 0) -> str:
        """This text, or some of its characters, as a place in words."""
        return str(Place(self.part, self.turn, start, end))


def texts(content: Content, *, prompt: bool = True, rejected: bool = True) -> Iterator[Text]:
    """Every text of a content with its place."""
    for turn_number, turn in enumerate(content.prompt if prompt else ()):
        yield Text("prompt", turn_number, turn.role, turn.content)
    for turn_number, turn in enumerate(content.chosen):
        yield Text("chosen", turn_number, turn.role, turn.content)
    for turn_number, turn in enumerate(content.rejected if rejected else ()):
        yield Text("rejected", turn_number, turn.role, turn.content)


@dataclass(slots=True)
class Counts:
    """How many findings there are by severity and by check."""

    by_severity: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Severity, 0))
    by_check: dict[str, int] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """One more."""
        self.by_severity[finding.severity.value] += 1
        self.by_check[finding.check] = self.by_check.get(finding.check, 0) + 1


REJECT = Fix(FixKind.REJECT, "reject the example")
"""The fix of what cannot be mended by a machine: the example stays, and is not trained on."""
