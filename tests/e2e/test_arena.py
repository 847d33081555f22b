"""Thirty blind votes by single keys in tmux, answers made ahead, the program killed in the middle.

Nothing is lost, the round goes on by itself, and no model's name was on the screen before any vote.
"""

from __future__ import annotations

import itertools
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakes import FakeEngine

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tmux import Tmux

from samples import user
from workbench.domain.comparisons import Comparison, Verdict
from workbench.domain.examples import Content, Kind, Source, SourceKind, Status
from workbench.domain.models import ModelKind
from workbench.domain.queries import Query
from workbench.flows.bench import Bench
from workbench.paths import Workspace, shipped

pytestmark = [
    pytest.mark.tmux,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]
BASE, TUNED = "quokka-base", "zebra-tuned"
FOODS = ("rice", "eggs", "peas", "beans", "corn", "kale", "bread", "soup", "lentils", "leeks", "fish", "oats", "ham")
VERBS = ("boil", "roast", "keep", "dry", "fry", "steam", "bake", "grill")
ASKED = ("How long do I {} {}?", "May I {} {} twice?")
PROMPTS = [asked.format(verb, food) for asked in ASKED for verb in VERBS for food in FOODS]
FEW = 40
"""So many prompts take the fake models longer than the votes before the kill; the real ones are asked all."""
VOTES, KILLED_AFTER, SEEN_AHEAD = 30, 15, 2
KEYS = {"h": Verdict.LEFT, "l": Verdict.RIGHT, "t": Verdict.TIE, "0": Verdict.BOTH_BAD}


def adapter(folder: Path) -> Path:
    """A LoRA adapter with random weights on the embedded model, which makes it say something else."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(shipped("sample_data") / "model")
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.3)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


@pytest.fixture(params=["fake", pytest.param("real", marks=[pytest.mark.ml, pytest.mark.slow])])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Bench, list[str]]]:
    """A workspace with prompts and two models, and how the program is started on it."""
    workspace = Workspace(tmp_path / "w")
    bench = Bench.open(workspace, engine=FakeEngine())
    pip = bench.store.models.get("pip")
    bench.store.models.add(BASE, ModelKind.BASE, pip.path, sha256=pip.sha256)
    folder = adapter(tmp_path / "adapter") if request.param == "real" else Path("/nowhere/adapter")
    bench.store.models.add(TUNED, ModelKind.ADAPTER, str(folder), base=BASE, sha256="of the adapter")
    for text in PROMPTS if request.param == "real" else PROMPTS[:FEW]:
        content, source = Content(Kind.PROMPT, user(text), ()), Source(SourceKind.IMPORT)
        bench.store.examples.add("zoo", content, source=source, status=Status.ACCEPTED, rater="r", tags=("food",))
    script = str(Path(__file__).parent / "arena_app.py")
    fake = [sys.executable, script, str(workspace.root)]
    yield bench, fake if request.param == "fake" else [sys.executable, "-m", "workbench", "-w", str(workspace.root)]
    if request.param == "real":
        from workbench.jobs.engine import EngineClient

        EngineClient(workspace).shutdown()
    bench.close()


def _to_arena(start: Callable[..., None], tmux: Tmux, argv: list[str]) -> None:
    start(*argv)
    tmux.wait_for("[(C)HAT]")
    tmux.keys("F6")
    tmux.wait_for("[(A)RENA]")


def _begin_round(tmux: Tmux, prompts: int) -> None:
    tmux.wait_for("No pair waits")
    tmux.keys("n")
    tmux.wait_for("Ask models the same")
    tmux.keys("q")
    tmux.wait_for(f"‹ {BASE} ›")
    tmux.wait_for(f"‹ {TUNED} ›")
    tmux.keys("Tab", "Tab", "Tab", "z")
    tmux.wait_for("‹ zoo ›")
    tmux.keys("Tab")
    _write(tmux, "limit", str(prompts))
    tmux.keys("Tab", "Tab")
    _write(tmux, "max_tokens", "16")
    tmux.keys("C-s")


def _write(tmux: Tmux, field: str, text: str) -> None:
    """Tab to a field of the form, empty it, and write."""
    tmux.keys("Tab", "End", "C-u")
    tmux.wait_for(lambda shown: bool(re.search(rf"{field} +[a-z]", shown)))
    tmux.text(text)
    tmux.wait_for(lambda shown: bool(re.search(rf"{field} +{text} ", shown)))


def _made(bench: Bench) -> list[Comparison]:
    return bench.store.comparisons.list(limit=len(PROMPTS))


def _standing(bench: Bench) -> list[Verdict]:
    """The standing votes, in the order in which they were given."""
    found = [r for c in _made(bench) for r in bench.store.comparisons.ratings(c.id) if not r.undone]
    assert all(rating.blind for rating in found)
    return [rating.verdict for rating in sorted(found, key=lambda rating: rating.id)]


def _until(ready: Callable[[], object], what: str, tmux: Tmux, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come; the screen was:\n{tmux.screen()}")
        time.sleep(0.05)


def _vote(tmux: Tmux, bench: Bench, key: str, given: int) -> str:
    """One blind vote and on to the next pair; gives what the terminal had before the vote."""
    shown = tmux.wait_for(lambda text: "blind" in text and "← h left" in text)
    if not given:
        tmux.keys("C-y")
        _until(lambda: "--- right" in tmux.beside(), "a copy of both answers", tmux)
    shown += tmux.beside()
    tmux.keys(key)
    told = tmux.wait_for(lambda text: "Enter goes on" in text)
    assert BASE in told and TUNED in told, told
    assert len(_standing(bench)) == given + 1, "what the screen says is on the disk"
    tmux.keys("Enter")
    return shown


def test_thirty_blind_votes_outlive_a_kill_and_show_no_name_before(
    program: tuple[Bench, list[str]], tmp_path: Path
) -> None:
    bench, argv = program
    made = bench.store.comparisons
    asked = [example.prompt_text for example in bench.store.examples.list(Query(), dataset="zoo", limit=len(PROMPTS))]
    screens: list[str] = []
    wanted = [*itertools.islice(itertools.cycle(KEYS), VOTES)]
    ahead = 0
    with Tmux(tmp_path, columns=80, rows=24, env={"WORKBENCH_REPEATS": "0"}) as tmux:
        _to_arena(tmux.start, tmux, argv)
        _begin_round(tmux, len(asked))
        for given, key in enumerate(wanted[:KILLED_AFTER]):
            _until(lambda: made.waiting(bench.rater) > SEEN_AHEAD, "pairs made ahead", tmux)
            screens.append(_vote(tmux, bench, key, given))
            ahead += made.waiting(bench.rater) > 0
        tmux.wait_for("blind")
        tmux.keys(wanted[KILLED_AFTER])  # a vote whose answer nobody saw
        tmux.kill()

        kept = _standing(bench)
        assert kept in ([KEYS[key] for key in wanted[:KILLED_AFTER]], [KEYS[key] for key in wanted[: KILLED_AFTER + 1]])
        assert len(_made(bench)) < len(asked), "it was killed in the middle of the round"
        _to_arena(tmux.restart, tmux, argv)
        for given, key in enumerate(wanted[len(kept) :], start=len(kept)):
            _until(lambda: made.waiting(bench.rater) > 0, "a pair", tmux)
            screens.append(_vote(tmux, bench, key, given))
        _until(lambda: len(_made(bench)) == len(asked), "the rest of the round", tmux, seconds=300)

    found = _made(bench)
    assert _standing(bench) == [KEYS[key] for key in wanted]
    assert ahead == KILLED_AFTER, "there always was a next pair at once"
    named = [shown for shown in screens if any(name in shown for name in (BASE, TUNED, "quokka", "zebra"))]
    assert named == [] and len(screens) >= VOTES - 1
    assert sorted(c.prompt[-1].content for c in found) == sorted(asked), "each prompt once, none lost"
    assert {c.a.identity.sha256 for c in found} | {c.b.identity.sha256 for c in found} == {
        bench.store.models.get(BASE).sha256,
        "of the adapter",
    }
    assert {c.left_is_a for c in found} == {True, False}
    assert {c.tags for c in found} == {("food",)}
