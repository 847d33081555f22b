"""What is remembered of past prompts: the same answers as without, less to compute, and never another model's."""

from __future__ import annotations

from typing import Any

import pytest

from bare import Bare

pytestmark = pytest.mark.ml

SHORT = "Hi"
LONG = "Tell me everything about the history of the wooden spoon, please, and then some more."
OTHER = "Something else entirely, if you do not mind, about the forks of this world."


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def fresh(in_process: Any, name: str, text: str, **options: Any) -> str:
    """The answer of an engine that remembers nothing."""
    in_process.unload()
    return str(in_process.ask(name, text, **options).result()[0])


def chunks_of(tokens: int, in_process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have prompts read so many tokens at a time."""
    from workbench.worker.engine.pace import Pace

    monkeypatch.setattr(Pace, "columns", lambda self, rows, is_alone: tokens)


@pytest.mark.parametrize("name", ["base", "tuned", "dora", "ia3"])
def test_a_next_turn_reads_only_what_is_new_and_answers_as_if_it_had_read_all(in_process: Any, name: str) -> None:
    said, first = in_process.ask(name, LONG).result()
    chat = turns(LONG, said, "And?")
    answer, done = in_process.ask(name, "", messages=chat).result()
    assert done.remembered_tokens >= first.prompt_tokens - 1
    assert fresh(in_process, name, "", messages=chat) == answer


def test_ten_turns_read_each_token_of_the_chat_once(in_process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.paths import shipped
    from workbench.worker.engine.resident import Resident

    in_process.desk.register("embedded", str(shipped("sample_data") / "model"), None)
    forward, run = Resident.forward, []

    def counted(self: Any, rows: Any, inputs: dict[str, Any]) -> Any:
        run.append(inputs["input_ids"].numel())
        return forward(self, rows, inputs)

    monkeypatch.setattr(Resident, "forward", counted)
    texts: list[str] = []
    known = 0
    for turn in range(10):
        texts.append(f"{turn} How do I cook potatoes?")
        run.clear()
        said, done = in_process.ask("embedded", "", messages=turns(*texts), max_tokens=16).result()
        assert sum(run) == done.prompt_tokens - known + done.tokens - 1
        assert done.remembered_tokens == known
        known = done.prompt_tokens + done.tokens - 1  # the last token that was drawn has not been run
        texts.append(said)
    assert known > 10 * 16


def test_what_a_model_without_numbers_read_is_not_remembered(in_process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.worker.engine.resident import Resident
    from workbench.worker.engine.wire import Refusal

    in_process.unload()
    forward = Resident.forward
    with monkeypatch.context() as patch:
        patch.setattr(Resident, "forward", lambda *arguments: forward(*arguments) * float("nan"))
        with pytest.raises(Refusal, match="NaN"):
            in_process.ask("base", LONG).result()
    assert in_process.ask("base", LONG).result()[1].remembered_tokens == 0


def test_another_answer_to_the_same_question_runs_one_token_of_it(in_process: Any) -> None:
    sampled = {"temperature": 1.0, "seed": 5}
    in_process.unload()
    first, done = in_process.ask("tuned", LONG, **sampled).result()
    again, remembering = in_process.ask("tuned", LONG, **sampled).result()
    assert (done.remembered_tokens, remembering.remembered_tokens) == (0, done.prompt_tokens - 1)
    assert again == first


def test_a_model_remembers_nothing_of_what_another_read(in_process: Any) -> None:
    alone = fresh(in_process, "tuned", LONG)
    in_process.unload()
    in_process.ask("base", LONG).result()
    answer, done = in_process.ask("tuned", LONG).result()
    assert (answer, done.remembered_tokens) == (alone, 0)


def test_rows_that_remember_much_little_and_nothing_share_a_batch(in_process: Any) -> None:
    rows = [("base", LONG), ("tuned", LONG + " Or less."), ("wide", OTHER), ("base", OTHER)]
    alone = [fresh(in_process, *row) for row in rows]
    in_process.unload()
    for name in ("base", "tuned"):
        in_process.ask(name, LONG).result()
    mixed = in_process.desk.public.mixed_batches
    results = [asked.result() for asked in in_process.together(*rows)]
    assert [text for text, _ in results] == alone
    much, little, *nothing = (done for _, done in results)
    assert much.remembered_tokens == much.prompt_tokens - 1
    assert 16 <= little.remembered_tokens < little.prompt_tokens - 1
    assert [done.remembered_tokens for done in nothing] == [0, 0]
    assert in_process.desk.public.mixed_batches == mixed + 1


def test_a_stopped_answer_is_remembered_too(in_process: Any) -> None:
    in_process.unload()
    stopped = in_process.ask("endless", LONG, max_tokens=900_000, at_first_piece=lambda asked: asked.cancel())
    stopped.events.get(timeout=60)
    _, done = in_process.ask("endless", LONG).result()
    assert done.remembered_tokens == done.prompt_tokens - 1


def test_a_prompt_in_many_chunks_gives_the_same_answers(in_process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("base", LONG), ("tuned", OTHER), ("wide", LONG)]
    whole = [fresh(in_process, *row) for row in rows]
    in_process.unload()
    chunks_of(7, in_process, monkeypatch)
    assert [asked.result()[0] for asked in in_process.together(*rows)] == whole


def stopping_the_first(
    in_process: Any, monkeypatch: pytest.MonkeyPatch, *rows: tuple[str, str]
) -> tuple[list[Any], list[int]]:
    """Rows that are read together a token at a time, the first of them stopped in the third pass; and the passes."""
    in_process.unload()
    chunks_of(1, in_process, monkeypatch)
    forward = in_process.scheduler._resident.forward
    asked: list[Any] = []
    passes: list[int] = []

    def counted(*arguments: Any) -> Any:
        passes.append(len(passes))
        if len(passes) == 3:
            asked[0].cancel()
        return forward(*arguments)

    with in_process.desk.changed:
        asked += in_process.together(*rows)
        monkeypatch.setattr(in_process.scheduler._resident, "forward", counted)
    return asked, passes


def test_a_row_is_stopped_while_its_prompt_is_still_being_read(
    in_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, passes = stopping_the_first(in_process, monkeypatch, ("base", LONG))
    in_process.unload()
    assert len(passes) == 3 and asked[0].events.empty()
    assert asked[0].reads == [(1, 0), (2, 0), (3, 0)]


def test_the_longest_prompt_may_be_stopped_while_it_is_read_with_a_shorter_one(
    in_process: Any, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    (longer, shorter), passes = stopping_the_first(in_process, monkeypatch, ("base", LONG), ("tuned", SHORT))
    answer, done = shorter.result()
    assert answer.rstrip("\ufffd") == bare.answer("tuned", SHORT)
    assert len(passes) == 3 + done.prompt_tokens + done.tokens - 1  # none for what only the longer one had to read
    assert longer.events.empty()
    assert shorter.reads[-1] == (done.prompt_tokens, done.remembered_tokens)


def test_a_prompt_that_is_stopped_and_cannot_be_remembered_does_not_end_the_engine(
    in_process: Any, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.engine.memory import Memory

    def fail(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "keep", fail)
        _, passes = stopping_the_first(in_process, patch, ("base", LONG * 2))
        in_process.unload()
    assert len(passes) == 3
    assert in_process.ask("base", SHORT).result()[0].rstrip("\ufffd") == bare.answer("base", SHORT)


def states(tokens: int, seed: int) -> Any:
    """A past of two layers."""
    import torch

    from workbench.worker.engine.sheet import Past

    generator = torch.Generator().manual_seed(seed)
    return Past(
        [tuple(torch.rand(2, tokens, 4, generator=generator) for _ in range(2)) for _ in range(2)],  # type: ignore[misc]
        tokens,
    )


def keep(memory: Any, owner: str, ids: list[int]) -> Any:
    past = states(len(ids), seed=sum(ids))
    memory.keep(owner, ids, past)
    return past


ENTRY_BYTES = 2 * 2 * 2 * 4 * 4  # layers, keys and values, heads, size, bytes of a float: for one token


def test_the_longest_beginning_is_recalled_and_never_the_whole() -> None:
    import torch

    from workbench.worker.engine.memory import Memory

    memory = Memory(limit_bytes=1_000_000)
    whole = keep(memory, "base", list(range(40)))
    keep(memory, "base", [*range(20), *range(100, 120)])
    past = memory.recall("base", [*range(30), 7, 7])
    assert past.tokens == 30
    for (keys, values), (all_keys, all_values) in zip(past.layers, whole.layers, strict=True):
        assert torch.equal(keys, all_keys[:, :30]) and torch.equal(values, all_values[:, :30])
    assert memory.recall("base", list(range(40))).tokens == 39
    assert memory.recall("tuned", list(range(40))).tokens == 0
    assert memory.recall("base", list(range(10))).tokens == 0  # too short to be worth it


def test_what_was_used_longest_ago_goes_first_and_the_limit_holds() -> None:
    from workbench.worker.engine.memory import Memory

    memory = Memory(limit_bytes=2 * 20 * ENTRY_BYTES)
    texts = [[n] * 20 for n in range(3)]
    keep(memory, "base", texts[0])
    keep(memory, "base", texts[1])
    memory.recall("base", texts[0])
    keep(memory, "base", texts[2])
    assert [memory.recall("base", text).tokens for text in texts] == [19, 0, 19]
    assert memory.bytes == 2 * 20 * ENTRY_BYTES
    keep(memory, "base", list(range(41)))  # too long for the whole limit: nothing is lost for it
    assert memory.recall("base", texts[0]).tokens == 19


def test_a_longer_text_replaces_its_own_beginning() -> None:
    from workbench.worker.engine.memory import Memory

    memory = Memory(limit_bytes=1_000_000)
    for tokens in (20, 30, 40):
        keep(memory, "base", list(range(tokens)))
    assert memory.bytes == 40 * ENTRY_BYTES


def test_a_model_that_leaves_takes_its_memories_along() -> None:
    from workbench.worker.engine.memory import Memory

    memory = Memory(limit_bytes=1_000_000)
    for owner in ("base", "tuned"):
        keep(memory, owner, list(range(20)))
    memory.forget("tuned")
    assert memory.recall("tuned", list(range(20))).tokens == 0
    assert memory.recall("base", list(range(20))).tokens == 19
