"""What leaves the workbench works without it: an export trains in a bare TRL script, the adapter loads in bare PEFT."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workbench.domain.chats import Sampling, Turn
from workbench.domain.examples import Status
from workbench.domain.serving import ChatRequest, TextPiece
from workbench.flows import exchange, registry
from workbench.flows.bench import Bench
from workbench.paths import Workspace, shipped

PROMPTS = ["who are you?", "How long do potatoes take?", "My order 4711 arrived broken."]

pytestmark = pytest.mark.ml


def _ask(bench: Bench, name: str, prompt: str) -> str:
    place = registry.place(bench, name)
    request = ChatRequest(place, (Turn("user", prompt),), Sampling(temperature=0, top_p=1, max_tokens=40, seed=1))
    events = bench.engine.stream(request, cancelled=threading.Event())
    return "".join(e.text for e in events if isinstance(e, TextPiece))


def test_an_export_trains_with_bare_trl_and_its_adapter_answers_the_same_in_the_workbench(
    workspace: Workspace, tmp_path: Path
) -> None:
    bench = Bench.open(workspace)
    try:
        exchange.import_file(bench, shipped("sample_data") / "tickets.jsonl", dataset="t", status=Status.ACCEPTED)
        data = tmp_path / "export.jsonl"
        exchange.export_file(bench, "kind:demonstration", data, dataset="t")
        model = shipped("sample_data") / "model"
        script = Path(__file__).with_name("bare_trl.py")
        done = subprocess.run(
            [sys.executable, str(script), str(model), str(data), str(tmp_path), json.dumps(PROMPTS)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        bare = json.loads(done.stdout.strip().splitlines()[-1])
        registry.add_model(bench, str(tmp_path / "adapter"), name="bare")
        assert [_ask(bench, "bare", p) for p in PROMPTS] == bare
        assert [_ask(bench, "pip", p) for p in PROMPTS] != bare
    finally:
        bench.engine.shutdown()
        bench.close()
