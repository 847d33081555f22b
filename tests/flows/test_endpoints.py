"""Models on other servers as any other: registered, chatted with, compared, and kept out of what needs weights."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from endpoints import FakeServer, chunk, holds, says, streams
from fakes import FakeEngine
from workbench.domain.chats import Sampling, StopReason, Turn
from workbench.domain.models import ModelKind
from workbench.errors import EngineError, RefusedError
from workbench.flows import chat, compare, registry, start, tokens
from workbench.flows.bench import Bench
from workbench.jobs.endpoint import EndpointClient, Patience, RoutedEngine
from workbench.paths import Workspace

ROUND = Sampling(temperature=0, top_p=1, max_tokens=8)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer().running() as running:
        yield running


@pytest.fixture
def bench(workspace: Workspace) -> Iterator[Bench]:
    """A bench whose engine asks servers too."""
    engine = RoutedEngine(FakeEngine(), EndpointClient(Patience(connect=5, silence=5, pause=0.001)))
    opened = Bench.open(workspace, engine=engine, rater="rater")
    yield opened
    opened.close()


def question(bench: Bench, model: str) -> tuple[int, int]:
    """A chat with one question in it."""
    chat_id = chat.new_chat(bench, model=model).id
    return chat_id, chat.say(bench, chat_id, "hi").id


def test_a_servers_model_is_registered_under_its_own_name(bench: Bench, server: FakeServer) -> None:
    model, warning = registry.add_endpoint(bench, server.url, "tuned")
    assert (model.name, model.kind, warning) == ("tuned", ModelKind.ENDPOINT, "")
    assert bench.store.models.get("tuned") == model
    shown = registry.describe(bench, model)
    assert (shown["url"], shown["remote"], shown["key"]) == (server.url, "tuned", "none")


def test_adding_it_again_with_a_key_has_it_send_that_key(bench: Bench, server: FakeServer) -> None:
    first, _ = registry.add_endpoint(bench, server.url, "tuned", name="far")
    assert first.key_source == ""
    again, _ = registry.add_endpoint(bench, server.url, "tuned", key_env="SECRET_KEY")
    assert (again.id, again.endpoint and again.endpoint.variable) == (first.id, "SECRET_KEY")
    kept, _ = registry.add_endpoint(bench, server.url, "tuned", name="far")
    assert kept == again, "a key that is not named again stays"


def test_adding_it_again_gives_what_is_there(bench: Bench, server: FakeServer) -> None:
    first, _ = registry.add_endpoint(bench, server.url, "tuned")
    again, _ = registry.add_endpoint(bench, server.url + "/", "tuned")
    assert again == first


def test_a_server_that_is_not_there_yet_or_lacks_the_model_is_added_with_a_warning(bench: Bench) -> None:
    with FakeServer().running() as server:
        _, lacking = registry.add_endpoint(bench, server.url, "other")
    assert "does not list other; it has base, tuned" in lacking
    _, absent = registry.add_endpoint(bench, server.url, "tuned")
    assert "cannot be reached" in absent and server.url in absent


def test_no_key_ever_stands_in_the_workspace(bench: Bench, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "sk-very-secret")
    registry.add_endpoint(bench, server.url, "tuned", key_env="SECRET_KEY")
    chat_id, asked = question(bench, "tuned")
    list(chat.answer(bench, chat_id, parent_id=asked, cancelled=threading.Event()))
    assert server.keys[-1] == "Bearer sk-very-secret"
    bench.close()
    files = [path for path in Path(bench.workspace.root).rglob("*") if path.is_file()]
    assert files and not any(b"sk-very-secret" in path.read_bytes() for path in files)


def test_an_answer_from_a_server_is_a_message_like_any_other(bench: Bench, server: FakeServer) -> None:
    registry.add_endpoint(bench, server.url, "tuned")
    chat_id, asked = question(bench, "tuned")
    *_, ended = chat.answer(bench, chat_id, parent_id=asked, cancelled=threading.Event())
    assert isinstance(ended, chat.AnswerEnded)
    made = ended.message.generation
    assert ended.message.content == "Hello there." and made is not None
    assert (made.model, made.tokens, made.stop_reason) == ("tuned", 5, StopReason.STOP)
    assert made.sampling.seed == server.bodies[0]["seed"]


def test_what_had_come_of_a_broken_answer_is_stored(bench: Bench, server: FakeServer) -> None:
    registry.add_endpoint(bench, server.url, "tuned")
    server.default = streams(chunk("half an"))
    chat_id, asked = question(bench, "tuned")
    with pytest.raises(EngineError, match="broke off"):
        list(chat.answer(bench, chat_id, parent_id=asked, cancelled=threading.Event()))
    kept = bench.store.chats.tree(chat_id).path()[-1]
    assert kept.content == "half an" and kept.generation is not None
    assert kept.generation.stop_reason is StopReason.ERROR


def test_a_stopped_answer_leaves_the_server_and_keeps_what_came(bench: Bench, server: FakeServer) -> None:
    registry.add_endpoint(bench, server.url, "tuned")
    server.default = holds(chunk("so far"))
    chat_id, asked = question(bench, "tuned")
    cancelled = threading.Event()
    for event in chat.answer(bench, chat_id, parent_id=asked, cancelled=cancelled):
        if isinstance(event, chat.AnswerText):
            cancelled.set()
    assert bench.store.chats.tree(chat_id).path()[-1].content == "so far"
    assert server.gone.wait(10)


def test_a_base_and_its_tuned_adapter_on_one_server_are_compared_as_local_ones_are(
    bench: Bench, server: FakeServer
) -> None:
    registry.add_endpoint(bench, server.url, "base")
    registry.add_endpoint(bench, server.url, "tuned")
    both = threading.Barrier(2, timeout=20)  # broken, and the test with it, unless both are asked at once

    def reply(handler: object) -> None:
        both.wait()
        says(f"from {server.bodies[-1]['model']}")(handler)  # type: ignore[arg-type]

    server.default = reply
    prompts = [(Turn("user", "one"),), (Turn("user", "two"),)]
    made = list(compare.prepare(bench, "base", "tuned", prompts, sampling=ROUND, seed=5))
    assert [(one.a.model, one.b.model) for one in made] == [("base", "tuned")] * 2
    seeds = sorted((body["seed"], body["model"]) for body in server.bodies)
    assert seeds == [(5, "base"), (5, "tuned"), (6, "base"), (6, "tuned")]


def test_a_local_model_is_compared_with_one_elsewhere(bench: Bench, server: FakeServer) -> None:
    registry.add_endpoint(bench, server.url, "tuned")
    (one,) = compare.prepare(bench, "pip", "tuned", [(Turn("user", "one"),)], sampling=ROUND, seed=5)
    assert (one.a.text, one.b.text) == ("I do not know.", "Hello there.")


def test_what_needs_weights_refuses_a_model_elsewhere(bench: Bench, server: FakeServer) -> None:
    registry.add_endpoint(bench, server.url, "tuned")
    with pytest.raises(RefusedError, match="on another server"):
        start.start_of(bench, "tuned")
    with pytest.raises(RefusedError, match="on another server"):
        tokens.base_of(bench, "tuned")
    assert "tuned" in [model.name for model in bench.store.models.speakers()]
    assert "tuned" not in [model.name for model in bench.store.models.trainable()]
