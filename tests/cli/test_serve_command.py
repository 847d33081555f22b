"""``serve`` as it is typed: it says where it is, answers there, and ends with exit code 0 when told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fakes import FakeEngine
from workbench.cli.main import main
from workbench.flows.bench import Bench
from workbench.jobs.processes import child_environment, module_argv

Command = Callable[..., tuple[int, Any]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], engine: FakeEngine) -> Command:
    """Run one command with ``--json``; its exit code and what it printed."""

    def run(*words: str) -> tuple[int, Any]:
        code = main([*words, "--json"], open_bench=lambda place: Bench.open(place, engine=engine))
        captured = capsys.readouterr()
        return code, json.loads(captured.out or captured.err)

    return run


def test_the_vllm_command_is_printed_and_nothing_is_started(command: Command) -> None:
    code, said = command("serve", "pip", "--port", "9000", "--print-vllm")
    assert code == 0
    assert said["command"][:2] == ["vllm", "serve"]
    assert "--port 9000" in " ".join(said["command"]) and said["environment"] == {}


def test_the_vllm_command_needs_a_key_too_where_others_can_ask(command: Command) -> None:
    code, said = command("serve", "pip", "--host", "0.0.0.0", "--print-vllm")
    assert code == 2 and "--api-key-env" in said["error"]["hint"]
    code, said = command("serve", "pip", "--host", "0.0.0.0", "--print-vllm", "--api-key-env", "KEY_OF_ANOTHER_MACHINE")
    assert code == 0 and said["environment"] == {"VLLM_API_KEY": "$KEY_OF_ANOTHER_MACHINE"}


def test_what_cannot_be_served_is_said_before_anything_is_started(command: Command) -> None:
    assert command("serve", "nobody")[0] == 4
    code, said = command("serve", "pip", "--host", "0.0.0.0")
    assert code == 2 and "--api-key-env" in said["error"]["hint"]


@pytest.mark.ml
def test_it_serves_until_it_is_told_to_end(tmp_path: Any) -> None:
    argv = module_argv("workbench", "--json", "--workspace", str(tmp_path), "serve", "pip", "--port", "0")
    environment = child_environment({"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment, text=True)
    try:
        assert process.stdout is not None
        said = json.loads(next(process.stdout))
        asked = {"model": "pip", "messages": [{"role": "user", "content": "Hello, who are you?"}], "temperature": 0}
        answer = httpx.post(f"{said['url']}/chat/completions", json=asked, timeout=60).json()
        assert answer["choices"][0]["message"]["content"]
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
