"""The scheduler against bare transformers and PEFT: same tokens, alone, mixed, padded, after a cancel."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from bare import TOKENS, Bare
from workbench.domain.chats import StopReason
from workbench.worker.engine.desk import Done, Notice
from workbench.worker.engine.wire import Refusal

pytestmark = pytest.mark.ml

SHORT = "Hi"
LONG = "Tell me everything about the history of the wooden spoon, please, and then some more."


def test_the_models_of_these_tests_answer_differently(bare: Bare) -> None:
    names = ("base", "second", "tuned", "wide", "dora", "ia3")
    assert len({bare.answer(name, SHORT) for name in names}) == len(names)
    assert len({bare.answer("tuned", text) for text in (SHORT, LONG)}) == 2


@pytest.mark.parametrize("name", ["base", "tuned", "wide"])
@pytest.mark.parametrize("text", [SHORT, LONG])
def test_a_greedy_answer_alone_is_that_of_bare_transformers(in_process: Any, bare: Bare, name: str, text: str) -> None:
    assert in_process.ask(name, text).result()[0] == bare.answer(name, text)


def test_a_mixed_and_padded_batch_gives_the_same_answers(in_process: Any, bare: Bare) -> None:
    questions = [(name, text) for name in ("base", "tuned", "wide") for text in (SHORT, LONG)]
    before = in_process.desk.public.mixed_batches
    answers = [asked.result()[0] for asked in in_process.together(*questions)]
    assert answers == [bare.answer(*question) for question in questions]
    assert in_process.desk.public.mixed_batches == before + 1


def test_rows_that_leave_early_do_not_disturb_the_others(in_process: Any, bare: Bare) -> None:
    with in_process.desk.changed:
        rows = [
            in_process.ask(name, text, max_tokens=tokens)
            for name, text, tokens in (("base", LONG, 3), ("tuned", SHORT, TOKENS), ("base", SHORT, 9))
        ]
    (_, first), (second, _), (_, third) = (row.result() for row in rows)
    assert second == bare.answer("tuned", SHORT)
    assert (first.tokens, third.tokens) == (3, 9)
    assert first.stop_reason is StopReason.LENGTH


def test_a_cancel_in_the_middle_leaves_no_trace(in_process: Any, bare: Bare) -> None:
    def cancel(asked: Any) -> None:
        asked.cancel()

    with in_process.desk.changed:
        cancelled = in_process.ask("tuned", LONG, max_tokens=140, at_first_piece=cancel)
        neighbour = in_process.ask("wide", SHORT)
    assert neighbour.result()[0] == bare.answer("wide", SHORT)
    for name in ("base", "tuned", "wide"):
        assert in_process.ask(name, LONG).result()[0] == bare.answer(name, LONG)
    assert not any(isinstance(event, Done) for event in cancelled.events.queue)


def test_a_row_that_nobody_waits_for_stops(in_process: Any) -> None:
    endless = in_process.ask("endless", SHORT, max_tokens=900_000, at_first_piece=lambda asked: asked.cancel())
    # The other base can only be loaded once nothing is being answered on this one.
    in_process.ask("base", SHORT).result()
    assert endless.events.qsize() < 50


def test_a_newcomer_does_not_wait_for_a_long_answer(in_process: Any, bare: Bare) -> None:
    newcomers: list[Any] = []

    def come(asked: Any) -> None:
        newcomers.append(in_process.ask("endless", LONG, max_tokens=5))

    endless = in_process.ask("endless", SHORT, max_tokens=900_000, at_first_piece=come)
    try:
        endless.events.get(timeout=60)
        assert newcomers[0].result()[1].tokens == 5
        assert not any(isinstance(event, Done) for event in endless.events.queue)
    finally:
        endless.cancel()


def test_adapters_that_cannot_be_mixed_take_turns_and_answer_right(in_process: Any, bare: Bare) -> None:
    names = ("dora", "base", "ia3", "tuned", "dora")
    asked = in_process.together(*((name, SHORT) for name in names))
    assert [a.result()[0] for a in asked] == [bare.answer(name, SHORT) for name in names]


def test_another_base_is_loaded_once_the_first_is_free(in_process: Any, bare: Bare) -> None:
    asked = in_process.together(("base", LONG), ("second", LONG), ("tuned", LONG))
    answers = [a.result()[0] for a in asked]
    assert answers == [bare.answer(name, LONG) for name in ("base", "second", "tuned")]
    assert in_process.desk.public.base == "base"


def test_a_changed_adapter_folder_is_loaded_again(in_process: Any, bare: Bare, tiny_models: Any) -> None:
    folder = tiny_models.root / "moving"
    shutil.copytree(tiny_models.root / "tuned", folder)
    try:
        in_process.register("moving")
        assert in_process.ask("moving", SHORT).result()[0] == bare.answer("tuned", SHORT)
        shutil.rmtree(folder)
        shutil.copytree(tiny_models.root / "wide", folder)
        in_process.register("moving")
        assert in_process.ask("moving", SHORT).result()[0] == bare.answer("wide", SHORT)
        assert in_process.desk.public.adapters.count("moving") == 1
    finally:
        shutil.rmtree(folder)


# Sampling


@pytest.mark.parametrize("name", ["base", "tuned"])
def test_the_same_seed_gives_the_same_answer_alone_and_in_a_batch(in_process: Any, name: str) -> None:
    options = {"temperature": 1.0, "top_p": 0.9, "seed": 11}
    alone = in_process.ask(name, SHORT, **options).result()[0]
    with in_process.desk.changed:
        rows = [
            in_process.ask("wide", LONG, temperature=1.5, seed=3),
            in_process.ask(name, SHORT, **options),
            in_process.ask("base", LONG),
        ]
    assert rows[1].result()[0] == alone
    assert in_process.ask(name, SHORT, **(options | {"seed": 12})).result()[0] != alone


def test_sampling_draws_tokens_as_often_as_their_probabilities_say() -> None:
    import torch

    from workbench.worker.engine.drawing import draw

    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, -30.0]])
    draws = 4000
    lane = _lane(temperature=0.7, top_p=1.0)
    counts = torch.zeros(5)
    for _ in range(draws):
        counts[draw(logits, [lane])[0]] += 1
    expected = torch.softmax(logits[0] / 0.7, dim=0)
    # Four standard deviations of a binomial share.
    assert torch.all((counts / draws - expected).abs() <= 4 * (expected * (1 - expected) / draws).sqrt() + 1e-9)


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    import torch

    from workbench.worker.engine.drawing import draw

    probabilities = torch.tensor([[0.15, 0.5, 0.05, 0.3]])
    lane = _lane(temperature=1.0, top_p=0.7)  # 0.5 alone is short of it, 0.5 + 0.3 reaches it
    assert {draw(probabilities.log(), [lane])[0] for _ in range(300)} == {1, 3}


def _lane(**options: float) -> Any:
    from workbench.worker.engine.adapters import Loaded
    from workbench.worker.engine.desk import Place, Row
    from workbench.worker.engine.lane import Lane
    from workbench.worker.engine.speaker import Speaker
    from workbench.worker.engine.wire import parse_request

    asked = parse_request({"model": "m", "messages": [{"role": "user", "content": "x"}], "seed": 1, **options})
    place = Place("m", "/nowhere")
    return Lane(Row(asked, place, lambda event: None), Loaded(place, Speaker(None, frozenset())), [1], None)


# Ends


def test_a_stop_text_ends_the_answer_and_is_not_in_it(in_process: Any, bare: Bare) -> None:
    whole = bare.answer("base", SHORT)
    stop = whole[5:8]
    text, done = in_process.ask("base", SHORT, stop=[stop, "never to be seen"]).result()
    assert text == whole[: whole.index(stop)]
    assert done.stop_reason is StopReason.STOP


def test_an_end_token_of_the_generation_config_ends_the_answer(in_process: Any, bare: Bare, tiny_models: Any) -> None:
    import json

    from transformers import AutoTokenizer

    folder = tiny_models.root / "ending"
    shutil.copytree(tiny_models.root / "base", folder)
    try:
        whole = bare.answer("base", SHORT)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        letter = next(c for c in whole[1:] if c.isascii())
        (number,) = tokenizer.encode(letter, add_special_tokens=False)
        config = json.loads((folder / "generation_config.json").read_text())
        (folder / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": [2, number]}))
        in_process.desk.register("ending", str(folder), None)
        text, done = in_process.ask("ending", SHORT).result()
        assert text == whole[: whole.index(letter)]
        assert done.stop_reason is StopReason.STOP
    finally:
        shutil.rmtree(folder)


def test_an_answer_ends_where_the_context_does(in_process: Any) -> None:
    text = "x" * 180
    _, done = in_process.ask("base", text, max_tokens=500).result()
    assert done.stop_reason is StopReason.LENGTH
    assert done.prompt_tokens + done.tokens == 256


# Refusals


def refusal_of(in_process: Any, name: str, text: str, **options: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        in_process.ask(name, text, **options).result()
    return caught.value


def test_a_prompt_longer_than_the_context_is_refused_in_words(in_process: Any) -> None:
    refusal = refusal_of(in_process, "base", "x" * 300)
    assert (refusal.code, refusal.status) == ("context_length_exceeded", 400)
    assert "255" in refusal.message


def test_the_chat_template_may_refuse(in_process: Any) -> None:
    refusal = refusal_of(in_process, "base", "", messages=[{"role": "wizard", "content": "Hi"}])
    assert (refusal.code, refusal.status) == ("chat_template_error", 400)
    assert "Unknown role: wizard" in refusal.message


@pytest.mark.parametrize("name", ["pissa"])
def test_adapters_that_would_answer_wrongly_are_refused(in_process: Any, name: str) -> None:
    assert refusal_of(in_process, name, SHORT).code == "unsupported_adapter"


@pytest.mark.parametrize("others", [("tuned", "wide"), ()])
def test_a_broken_adapter_is_refused_and_the_others_still_answer(
    in_process: Any, bare: Bare, tiny_models: Any, others: tuple[str, ...]
) -> None:
    in_process.unload()
    folder = tiny_models.root / "broken"
    shutil.copytree(tiny_models.root / "wide", folder)
    (folder / "adapter_model.safetensors").write_bytes(
        (tiny_models.root / "tuned" / "adapter_model.safetensors").read_bytes()
    )
    try:
        in_process.register("broken")
        for name in others:
            in_process.ask(name, SHORT).result()
        refusal_of(in_process, "broken", SHORT)
        assert "broken" not in in_process.desk.public.adapters
        for name in ("base", "tuned", "wide"):
            assert in_process.ask(name, SHORT).result()[0] == bare.answer(name, SHORT)
    finally:
        shutil.rmtree(folder)


def test_pickled_weights_are_not_read(in_process: Any, tiny_models: Any, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_models.root / "base", folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    in_process.desk.register("pickled", str(folder), None)
    refusal = refusal_of(in_process, "pickled", SHORT)
    assert refusal.code == "no_safetensors"
    assert in_process.desk.public.state == "failed"


def test_custom_code_is_not_run(in_process: Any, tiny_models: Any, tmp_path: Path) -> None:
    import json

    folder = tmp_path / "custom"
    shutil.copytree(tiny_models.root / "base", folder)
    config = json.loads((folder / "config.json").read_text())
    own = {"auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Model"}, "model_type": "own"}
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    in_process.desk.register("custom", str(folder), None)
    assert refusal_of(in_process, "custom", SHORT).code == "custom_code"
    assert not (tmp_path / "ran").exists()


def test_running_out_of_memory_fails_the_row_and_not_the_engine(
    in_process: Any, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def starve(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(type(in_process.scheduler._resident), "forward", starve)
        assert refusal_of(in_process, "base", SHORT).code == "out_of_memory"
    assert in_process.ask("base", SHORT).result()[0] == bare.answer("base", SHORT)


def test_the_embedded_model_answers_as_it_does_under_bare_transformers(in_process: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench.paths import shipped

    folder = shipped("sample_data") / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    turns = [{"role": "user", "content": "Hello, who are you?"}]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
    whole = model.generate(**prompt, max_new_tokens=40, do_sample=False)
    expected = tokenizer.decode(whole[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    in_process.desk.register("pip", str(folder), None)
    assert in_process.ask("pip", turns[0]["content"], max_tokens=40).result()[0] == expected


# Going on with an answer


def test_the_rest_of_an_answer_is_what_would_have_come(in_process: Any) -> None:
    from workbench.paths import shipped

    in_process.desk.register("embedded", str(shipped("sample_data") / "model"), None)
    question = {"role": "user", "content": "How do I cook potatoes?"}
    whole, _ = in_process.ask("embedded", "", messages=[question], max_tokens=24).result()
    begun = " ".join(whole.split(" ")[:4])
    messages = [question, {"role": "assistant", "content": begun}]
    going_on = {"continue_final_message": True, "add_generation_prompt": False}
    rest, done = in_process.ask("embedded", "", messages=messages, max_tokens=8, **going_on).result()
    assert rest.startswith(" ") and whole.startswith(begun + rest)
    assert done.remembered_tokens == done.prompt_tokens - 1


def test_a_chat_that_is_too_long_keeps_the_answer_that_is_gone_on_with(in_process: Any) -> None:
    long = [{"role": ("user", "assistant")[n % 2], "content": f"{n} " + "x" * 60} for n in range(8)]
    asked = in_process.ask("base", "", messages=long, continue_final_message=True, truncation="auto", max_tokens=4)
    _, done = asked.result()
    assert done.prompt_tokens < 256 and any(isinstance(event, Notice) for event in asked.heard)


def test_a_template_that_changes_the_answer_is_told_of_instead_of_going_on(
    in_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.engine.wire import Refusal

    in_process.ask("base", "Hi").result()
    tokenizer = in_process.scheduler._resident._base.speaker.tokenizer
    changed = tokenizer.chat_template.replace("message['content']", "(message['content'] | upper)")
    monkeypatch.setattr(tokenizer, "chat_template", changed)
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "well"}]
    with pytest.raises(Refusal, match="template changes") as caught:
        in_process.ask("base", "", messages=messages, continue_final_message=True).result()
    assert "im_start" not in caught.value.message


@pytest.mark.parametrize("template", ["message['content']", "(message['content'] | trim)"])
@pytest.mark.parametrize("begun", ["well", "well, \n"])
def test_the_rest_comes_behind_the_blanks_that_the_text_ends_with(
    in_process: Any, monkeypatch: pytest.MonkeyPatch, template: str, begun: str
) -> None:
    in_process.ask("base", "Hi").result()
    speaker = in_process.scheduler._resident._base.speaker
    changed = speaker.tokenizer.chat_template.replace("message['content']", template)
    monkeypatch.setattr(speaker.tokenizer, "chat_template", changed)
    ids = speaker.encode([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": begun}], go_on=True)
    assert speaker.decode(ids).endswith(begun)
