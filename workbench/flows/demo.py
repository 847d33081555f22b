"""The demo: the whole loop on the embedded model, through the same flows that the screens and commands call.

chat → capture → curate → train → blind compare → rate → export → import elsewhere → retrain. Each stage checks what
it did and ends the demo with the reason when that is not what it should be. The rater is a script and says so: it sees
only what a person would see before the vote, and prefers the answer that does not ramble.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from workbench.config import Settings
from workbench.domain.chats import Message, Sampling
from workbench.domain.comparisons import BlindView, Verdict
from workbench.domain.examples import Kind, Split, Status
from workbench.domain.queries import parse_query
from workbench.domain.runs import Run, RunState
from workbench.errors import RunError, WorkbenchError
from workbench.flows import chat, compare, curate, exchange, train
from workbench.flows.bench import Bench
from workbench.paths import Workspace, shipped

DATASET = "chats"
RATER = "demo-script"
QUESTIONS = ("who are you?", "How long do potatoes take?", "What can I use instead of butter?")
CORRECTION = "About 15 minutes. Is there anything else?"
STANDSTILL_SECONDS = 1200
TOLD_EVERY_SECONDS = 20

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run's name, method and held-out loss before and after."""

    name: str
    method: str
    rows: int
    base: float
    tuned: float


@dataclass(slots=True)
class DemoSummary:
    """What the demo did, filled stage by stage."""

    workspace: Path
    captured: int = 0
    imported: int = 0
    runs: list[RunSummary] = field(default_factory=list)
    comparisons: int = 0
    win_rate: float | None = None
    low: float = 0.0
    high: float = 1.0
    exported: list[str] = field(default_factory=list)
    lineage: str = ""

    def as_dict(self) -> dict[str, object]:
        """The summary as ``workbench demo --json`` prints it; ``held_out_loss`` is the last stage's of each method."""
        runs = [
            {"name": r.name, "method": r.method, "rows": r.rows, "base": r.base, "tuned": r.tuned} for r in self.runs
        ]
        first = self.runs[0] if self.runs else None
        return {
            "workspace": str(self.workspace),
            "captured": self.captured,
            "imported": self.imported,
            "runs": runs,
            "held_out_loss": {"base": first.base, "tuned": first.tuned} if first else None,
            "comparisons": self.comparisons,
            "win_rate": {"value": self.win_rate, "low": self.low, "high": self.high},
            "exported": self.exported,
            "lineage": self.lineage,
        }

    def table(self) -> str:
        """The summary for a person."""
        share = "no decided vote" if self.win_rate is None else f"{self.win_rate:.0%} [{self.low:.0%}, {self.high:.0%}]"
        lines = [
            ("rows captured in chat", str(self.captured)),
            ("rows imported", str(self.imported)),
            *(
                (f"{r.name} ({r.method}, {r.rows} rows)", f"held-out loss {r.base:.3f} → {r.tuned:.3f}")
                for r in self.runs
            ),
            ("blind comparisons", str(self.comparisons)),
            ("tuned beats base (script's votes)", share),
            *(("exported", name) for name in self.exported),
            ("one row, all the way round", self.lineage),
        ]
        width = max(len(name) for name, _ in lines)
        body = "\n".join(f"  {name.ljust(width)}  {value}" for name, value in lines)
        return f"{body}\n\nLook at it yourself:\n  {_program()} --workspace {self.workspace}"


def _program() -> str:
    """What starts this workbench when it is typed: its name where that is found, else the path it was started by."""
    started = Path(sys.argv[0])
    if shutil.which("workbench"):
        return "workbench"
    return str(started) if started.name == "workbench" else f"{sys.executable} -m workbench"


@dataclass(frozen=True, slots=True)
class _Size:
    """How much the demo does: all, or enough to show the way."""

    rows: int
    steps: int
    prompts: int


def run_demo(folder: Path | None, *, fast: bool, settings: Settings, say: Say) -> DemoSummary:
    """Run every stage in ``folder`` (None: a new temporary one); raises ``WorkbenchError`` at the first failure."""
    root = folder or Path(tempfile.mkdtemp(prefix="workbench-demo-"))
    size = _Size(rows=40, steps=6, prompts=4) if fast else _Size(rows=300, steps=-1, prompts=20)
    summary = DemoSummary(root)
    bench = Bench.open(Workspace(root.absolute()), rater=RATER, settings=settings)
    try:
        _stages(bench, summary, size, say)
    finally:
        bench.engine.shutdown()
        bench.close()
    return summary


def _stages(bench: Bench, summary: DemoSummary, size: _Size, say: Say) -> None:
    with _stage(say, 1, "chat with the embedded model; keep, edit, pick, thumb"):
        summary.captured = _chat_and_capture(bench)
    with _stage(say, 2, "import sample data; accept, tag, reject, undo"):
        summary.imported = _import_and_curate(bench, size)
    with _stage(say, 3, "train SFT, then DPO, each in a process that outlives the terminal"):
        sft = _train(bench, "sft", "", f"demo-sft-{_number(bench)}", size, say)
        dpo = _train(bench, "dpo", "", f"demo-dpo-{_number(bench)}", size, say)
        summary.runs += [_run_summary(bench, sft), _run_summary(bench, dpo)]
        if size.steps < 0:
            _require_better(summary.runs)
    with _stage(say, 4, "base and tuned answer the same prompts; the script votes blind"):
        made = _compare_and_rate(bench, dpo.adapter, size)
        summary.comparisons = len(made)
        result = compare.results(bench, dpo.adapter, dpo.base)[0]
        summary.win_rate, summary.low, summary.high = result.win_rate.value, result.win_rate.low, result.win_rate.high
    with _stage(say, 5, "export; import into a fresh workspace; the same rows"):
        summary.exported = _export_and_reimport(bench)
    with _stage(say, 6, "retrain on the votes, from the tuned adapter"):
        again = _retrain(bench, dpo, size, say)
        if again is not None:
            summary.runs.append(_run_summary(bench, again))
    summary.lineage = _lineage(bench, dpo)


@contextmanager
def _stage(say: Say, number: int, what: str) -> Iterator[None]:
    say(f"[{number}/6] {what}")
    started = time.monotonic()
    yield
    say(f"      done in {time.monotonic() - started:.0f} s")


def _number(bench: Bench) -> int:
    return len(train.runs(bench)) + 1


def _ask(bench: Bench, chat_id: int, parent_id: int, sampling: Sampling) -> Message:
    for event in chat.answer(bench, chat_id, parent_id=parent_id, cancelled=threading.Event(), sampling=sampling):
        if isinstance(event, chat.AnswerEnded):
            return event.message
    raise WorkbenchError("the model's answer ended without a message")


def _chat_and_capture(bench: Bench) -> int:
    """Three turns, and one gesture of each kind; gives how many examples they made."""
    sampling = Sampling(temperature=0.7, max_tokens=80, seed=7)
    opened = chat.new_chat(bench, sampling=sampling)
    answers: list[Message] = []
    for question in QUESTIONS:
        said = chat.say(bench, opened.id, question)
        answers.append(_ask(bench, opened.id, said.id, sampling))
    chat.keep(bench, answers[0].id)
    chat.thumb(bench, answers[0].id, up=True)
    parent = answers[2].parent_id
    if parent is None:
        raise WorkbenchError("an answer has no question above it")
    other = _ask_for_another(bench, opened.id, parent, answers[2])
    chat.prefer(bench, other.id, answers[2].id)
    chat.thumb(bench, answers[2].id, up=False)
    chat.edit(bench, answers[1].id, CORRECTION)
    return bench.store.examples.count(parse_query("source:chat"))


def _ask_for_another(bench: Bench, chat_id: int, parent_id: int, first: Message) -> Message:
    """A sibling that differs from the first answer: other seeds, at most ten."""
    for seed in range(8, 18):
        other = _ask(bench, chat_id, parent_id, Sampling(temperature=1.0, max_tokens=80, seed=seed))
        if other.content.strip() != first.content.strip() and other.content.strip():
            return other
    raise WorkbenchError("ten seeds gave the same answer", hint="the embedded model may be damaged: install again")


def _import_and_curate(bench: Bench, size: _Size) -> int:
    samples = shipped("sample_data")
    total = 0
    for name in ("tickets", "polite"):
        total += exchange.import_file(bench, samples / f"{name}.jsonl", dataset=DATASET, status=Status.PENDING).imported
    ids = list(curate.ids(bench, "status:pending", dataset=DATASET))
    half = len(ids) // 2
    kept = [*ids[: size.rows], *ids[half : half + size.rows]]
    curate.accept(bench, kept)
    curate.tag(bench, kept, add=("sample",))
    curate.reject(bench, kept[:1])
    curate.undo(bench)
    for name in ("tickets", "polite"):
        held = exchange.import_file(bench, samples / f"{name}-eval.jsonl", dataset=DATASET, status=Status.ACCEPTED)
        total += held.imported
    held_ids = [i for i in curate.ids(bench, "status:accepted", dataset=DATASET) if i > ids[-1]]
    curate.split(bench, held_ids, Split.VALIDATION)
    return total


def _train(bench: Bench, method: str, model: str, name: str, size: _Size, say: Say, dataset: str = DATASET) -> Run:
    overrides = {"max_steps": str(size.steps)} if size.steps > 0 else {}
    plan = train.plan(bench, method=method, dataset=dataset, model=model, overrides=overrides, name=name)
    say(f"      {plan.command}")
    return _wait(bench, train.launch(bench, plan), say)


def _wait(bench: Bench, run: Run, say: Say) -> Run:
    """The finished run; says now and then how far it is. However slow it is, only one that stands still is given up."""
    seen, since = (run.state, run.step), time.monotonic()
    told = since
    while True:
        train.sync(bench)
        current = bench.store.runs.get(str(run.id))
        if current.state is RunState.FINISHED:
            return current
        if current.state.is_over:
            raise RunError(
                f"run {run.name} is {current.state.value}: {current.error}",
                hint=current.hint or "\n".join(train.log_tail(bench, current, lines=5)),
                where=current.directory,
            )
        now = time.monotonic()
        if (current.state, current.step) != seen:
            seen, since = (current.state, current.step), now
        elif now - since > STANDSTILL_SECONDS:
            raise RunError(
                f"run {run.name} has made no step for {STANDSTILL_SECONDS} s",
                hint=f"it is left at work: workbench -w {bench.workspace.root} runs watch {run.name}",
                where=run.directory,
            )
        if now - told >= TOLD_EVERY_SECONDS:
            told = now
            say(f"      {current.state.value}, step {current.step} of {current.total_steps or '?'}")
        time.sleep(0.3)


def _run_summary(bench: Bench, run: Run) -> RunSummary:
    if run.base_eval_loss is None or run.eval_loss is None:
        raise RunError(f"run {run.name} has no held-out loss", where=run.directory)
    rows = train.spec(run).train_rows
    return RunSummary(run.name, run.method, rows, run.base_eval_loss, run.eval_loss)


def _require_better(runs: Sequence[RunSummary]) -> None:
    for run in runs:
        if not run.tuned < run.base:
            raise RunError(f"{run.name} did not lower the held-out loss: {run.base:.3f} → {run.tuned:.3f}")


def _compare_and_rate(bench: Bench, tuned: str, size: _Size) -> list[int]:
    prompts = compare.prompts_from(bench, shipped("sample_data") / "prompts.jsonl")[: size.prompts]
    base = bench.store.models.get(tuned).base
    sampling = Sampling(temperature=0.7, max_tokens=80)
    made = [c.id for c in compare.prepare(bench, tuned, base, prompts, sampling=sampling, seed=11)]
    while (view := compare.next_blind(bench, a=tuned, b=base)) is not None:
        vote = _scripted_vote(view)
        compare.rate(bench, view.comparison_id, vote, comment="scripted: the one at least a third shorter")
    return made


def _scripted_vote(view: BlindView) -> Verdict:
    """The answer that is at least a third shorter wins: it does not ramble. Truth is not judged, only length.

    Sides and models are unknown here, as they are to a person.
    """
    left, right = len(view.left_text.strip()), len(view.right_text.strip())
    if not left or not right:
        return Verdict.BOTH_BAD if left == right else (Verdict.LEFT if left else Verdict.RIGHT)
    if 3 * min(left, right) > 2 * max(left, right):
        return Verdict.TIE
    return Verdict.LEFT if left < right else Verdict.RIGHT


def _export_and_reimport(bench: Bench) -> list[str]:
    target = bench.workspace.exports / "demo.jsonl"
    report = exchange.export_file(bench, "", target, dataset=DATASET, provenance=True, replace=True)
    fresh_root = bench.workspace.root / "fresh"
    shutil.rmtree(fresh_root, ignore_errors=True)
    fresh = Bench.open(Workspace(fresh_root), rater=RATER, engine=bench.engine, settings=bench.settings)
    try:
        exchange.import_file(fresh, target, dataset=DATASET)
        if (there := _hashes(fresh)) != (here := _hashes(bench)):
            raise WorkbenchError(
                f"{len(here)} rows went out and {len(there)} came in, or they differ", where=str(target)
            )
    finally:
        fresh.close()
    return [report.file]


def _hashes(bench: Bench) -> set[tuple[str, str]]:
    found = bench.store.examples.list(parse_query("status:accepted"), dataset=DATASET, limit=1_000_000)
    return {(e.content.hash(), e.status.value) for e in found}


def _retrain(bench: Bench, dpo: Run, size: _Size, say: Say) -> Run | None:
    """Decided votes become pairs, and DPO goes on from the tuned adapter; None when no vote was decided."""
    for comparison in bench.store.comparisons.list(limit=10_000):
        votes = [r for r in bench.store.comparisons.ratings(comparison.id) if not r.undone]
        if votes and votes[-1].verdict.is_decided:
            compare.promote(bench, comparison.id)
    pairs = bench.store.examples.count(parse_query(f"kind:{Kind.PREFERENCE.value} source:vote"))
    if pairs < 4:
        say(f"      {pairs} decided votes are too few to train on; a person's next votes would be")
        return None
    votes_size = _Size(rows=pairs, steps=min(6, size.steps) if size.steps > 0 else 6, prompts=0)
    return _train(bench, "dpo", dpo.adapter, f"demo-dpo-{_number(bench)}", votes_size, say, dataset="votes")


def _lineage(bench: Bench, run: Run) -> str:
    """One row walked back: adapter → run → example → message → chat."""
    for example_id in train.spec(run).example_ids:
        source = bench.store.examples.get(example_id).source
        if source.chat_id is not None:
            row = f"example {example_id} ← message {source.message_id} ← chat {source.chat_id}"
            return f"{run.adapter} ← run {run.name} ← {row}"
    raise WorkbenchError(f"no row of {run.name} leads back to a chat", where=run.directory)
