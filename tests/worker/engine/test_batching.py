"""Rows that come and go while others are answered: in one batch, and none the wiser."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bare import Bare
from workbench.worker.engine.desk import Notice, Piece

pytestmark = pytest.mark.ml

SHORT = "Hi"
LONG = "Tell me everything about the history of the wooden spoon, please, and then some more."


@dataclass
class Passes:
    """What went through the model: how many rows, and how many columns of each."""

    shapes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def read(self) -> int:
        """Tokens of prompts, padding too."""
        return sum(rows * columns for rows, columns in self.shapes if columns > 1)


@pytest.fixture
def passes(in_process: Any, monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Everything that runs through the model during a test that begins with nothing remembered."""
    from workbench.worker.engine.resident import Resident

    in_process.unload()
    seen, forward = Passes(), Resident.forward

    def noted(self: Any, rows: Any, inputs: dict[str, Any]) -> Any:
        seen.shapes.append(tuple(inputs["input_ids"].shape))
        return forward(self, rows, inputs)

    monkeypatch.setattr(Resident, "forward", noted)
    return seen


def told(asked: Any) -> str:
    """The whole answer, without a part of a character at its end."""
    return str(asked.result()[0]).rstrip("\ufffd")


def beside(in_process: Any, *questions: tuple[str, str], **options: Any) -> list[Any]:
    """Rows that are each asked when the one before has given its first words."""
    rows: list[Any] = [None] * len(questions)
    all_asked = threading.Event()

    def ask(number: int) -> None:
        if number == len(questions):
            all_asked.set()
            return
        name, text = questions[number]
        rows[number] = in_process.ask(name, text, at_first_piece=lambda _: ask(number + 1), **options)

    ask(0)
    assert all_asked.wait(60)
    return rows


def test_a_newcomer_joins_the_batch_that_is_being_answered(in_process: Any, bare: Bare, passes: Passes) -> None:
    questions = [("base", LONG), ("tuned", SHORT), ("dora", LONG), ("prefix", SHORT), ("base", SHORT)]
    rows = beside(in_process, *questions)
    assert [told(row) for row in rows] == [bare.answer(*question) for question in questions]
    assert max(rows for rows, columns in passes.shapes if columns == 1) >= 2  # more than began together: one did


@pytest.mark.parametrize("name", ["base", "tuned", "dora", "prefix"])
def test_the_same_seed_gives_the_same_answer_alone_and_among_others(in_process: Any, name: str) -> None:
    seeds = range(8)
    options = [{"temperature": 0.7 + seed / 10, "top_p": (1.0, 0.9)[seed % 2], "seed": seed} for seed in seeds]
    alone = [told(in_process.ask(name, LONG, **each)) for each in options]
    assert len(set(alone)) == len(seeds)
    with in_process.desk.changed:
        rows = [in_process.ask(name, LONG, **each) for each in options]
        others = [in_process.ask("wide", SHORT, temperature=1.5, seed=n, max_tokens=3 + n) for n in range(4)]
    assert [told(row) for row in rows] == alone
    assert all(other.result()[1].tokens <= 3 + n for n, other in enumerate(others))
    late = beside(in_process, ("base", LONG), (name, LONG), **options[3])
    assert told(late[1]) == alone[3]


@pytest.mark.parametrize(
    ("names", "ways"),
    [(["base"], set()), (["tuned"], {"own"}), (["base", "tuned"], {"mixed"}), (["base", "prefix"], set())],
)
def test_rows_that_all_want_the_same_do_not_pay_for_a_mixed_batch(
    in_process: Any, bare: Bare, monkeypatch: pytest.MonkeyPatch, names: list[str], ways: set[str]
) -> None:
    from peft.tuners.lora.layer import Linear

    in_process.ask("tuned", SHORT, max_tokens=1).result()
    seen: set[str] = set()
    check = Linear._check_forward_args

    def noted(layer: Any, *args: Any, **kwargs: Any) -> None:
        seen.add("own" if kwargs.get("adapter_names") is None else "mixed")
        check(layer, *args, **kwargs)

    monkeypatch.setattr(Linear, "_check_forward_args", noted)
    questions = [(name, LONG) for name in names]
    assert [told(row) for row in in_process.together(*questions)] == [bare.answer(*each) for each in questions]
    assert seen == ways


def test_siblings_share_the_reading_of_their_prompt(in_process: Any, passes: Passes) -> None:
    rows = in_process.together(*[("tuned", LONG)] * 4, temperature=1, seed=3)
    prompt = [row.result()[1].prompt_tokens for row in rows]
    assert passes.read == prompt[0]
    assert len({told(row) for row in in_process.together(*[("tuned", LONG)] * 4, temperature=1, seed=3)}) == 1


def test_another_answer_is_remembered_while_the_first_is_still_being_made(in_process: Any) -> None:
    in_process.unload()
    first, second = beside(in_process, ("base", LONG), ("base", LONG))
    assert first.result()[1].remembered_tokens == 0
    assert second.result()[1].remembered_tokens == second.result()[1].prompt_tokens - 1


def test_a_long_prompt_is_read_between_the_steps_of_others(
    in_process: Any, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.engine.pace import Pace

    monkeypatch.setattr(Pace, "columns", lambda self, rows, is_alone: 4)
    for row in beside(in_process, ("endless", SHORT), ("endless", LONG), max_tokens=60):
        row.result()
    begin = passes.shapes.index((1, 1))  # the first step of the first answer
    chunks = [at for at, (_, columns) in enumerate(passes.shapes) if at > begin and columns == 4]
    assert len(chunks) > 10
    assert all(passes.shapes[at + 1][1] == 1 for at in chunks)


def test_the_pace_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from workbench.worker.engine import pace as module

    class Reading:
        remaining, rows = 1000, [0, 0]

        def read(self, columns: int) -> None:
            clock[0] += 0.001 * columns * len(self.rows)  # a millisecond a token

    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    pace = module.Pace(torch.device("cpu"), 10**12)
    first = pace.columns(2, is_alone=True)
    for _ in range(20):
        pace.timed(Reading(), pace.columns(2, is_alone=False))  # type: ignore[arg-type]
    assert first == module.FEWEST
    assert pace.columns(2, is_alone=False) == pytest.approx(1000 * module.SHARED_SECONDS / 2, rel=0.1)
    assert pace.columns(1, is_alone=True) == pytest.approx(1000 * module.ALONE_SECONDS, rel=0.1)


def test_when_the_memory_is_too_small_what_is_only_remembered_gives_way(
    in_process: Any, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from workbench.worker.engine.adapters import Adapters

    in_process.ask("base", LONG).result()
    run, failures = Adapters.run, [3, 9]
    calls = 0

    def starved(self: Any, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in failures:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, *arguments)

    monkeypatch.setattr(Adapters, "run", starved)
    assert told(in_process.ask("tuned", LONG)) == bare.answer("tuned", LONG)
    assert calls > 9
    assert in_process.scheduler._resident.recall(in_process.scheduler._resident._base, list(range(99))).tokens == 0


def code_of(row: Any) -> str:
    """How the row was refused."""
    from workbench.worker.engine.wire import Refusal

    with pytest.raises(Refusal) as caught:
        row.result()
    return caught.value.code


def starving_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Have a method run out of memory at its first call."""
    import torch

    method = getattr(owner, name)

    def starved(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, method)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(owner, name, starved)


def test_a_row_that_finds_no_memory_to_join_with_is_told_so(
    in_process: Any, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.engine.sheet import Sheet

    starving_once(monkeypatch, Sheet, "join")
    rows = in_process.together(("base", LONG), ("tuned", SHORT))
    assert [code_of(row) for row in rows] == ["out_of_memory"] * 2
    assert told(in_process.ask("base", LONG)) == bare.answer("base", LONG)


def test_a_row_that_finds_no_memory_for_its_past_is_told_so(
    in_process: Any, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.engine.sheet import Sheet

    starving_once(monkeypatch, Sheet, "lay")
    assert code_of(in_process.ask("base", LONG)) == "out_of_memory"
    assert told(in_process.ask("base", LONG)) == bare.answer("base", LONG)


def test_a_row_whose_model_was_lost_by_the_next_ones_adapter_is_told_so(
    in_process: Any, bare: Bare, tiny_models: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "foreign"
    shutil.copytree(tiny_models.root / "tuned", folder)
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["target_modules"] = ["q_proj", "mlp"]  # the second cannot be adapted: the base is left half dressed
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    in_process.desk.register("foreign", str(folder), ("base", str(tiny_models.root / "base")))
    in_process.unload()
    rows = in_process.together(("base", SHORT), ("foreign", SHORT))
    assert [code_of(row) for row in rows] == ["model_lost", "engine_error"]
    assert told(in_process.ask("base", SHORT)) == bare.answer("base", SHORT)


def test_without_memory_to_remember_a_row_that_leaves_the_others_answer_on(
    in_process: Any, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from workbench.worker.engine.memory import Memory

    def starve(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Memory, "keep", starve)
    rows = beside(in_process, ("base", LONG), ("tuned", SHORT), ("base", SHORT))
    rows[1].cancel()
    assert [told(rows[row]) for row in (0, 2)] == [bare.answer("base", LONG), bare.answer("base", SHORT)]


# Log-probabilities


def test_log_probabilities_are_those_of_the_bare_model(
    in_process: Any, bare: Bare, tiny_models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoTokenizer

    from workbench.worker.engine.lane import Lane

    drawn: list[int] = []
    take = Lane.take
    monkeypatch.setattr(Lane, "take", lambda lane, token, chance: drawn.append(token) or take(lane, token, chance))
    row = in_process.ask("tuned", LONG, logprobs=True, top_logprobs=4, max_tokens=8, temperature=1.0, seed=5)
    row.result()
    chances = [chance for event in row.heard if isinstance(event, Piece) for chance in event.chances]
    tokenizer = AutoTokenizer.from_pretrained(tiny_models.root / "base")
    asked = tokenizer.apply_chat_template([{"role": "user", "content": LONG}], add_generation_prompt=True)["input_ids"]
    with torch.no_grad():
        logits = bare.model("tuned")(torch.tensor([asked + drawn])).logits[0, len(asked) - 1 : -1]
    expected = torch.log_softmax(logits, dim=1)
    assert len(chances) == len(drawn) == 8
    for chance, token, row_expected in zip(chances, drawn, expected, strict=True):
        assert chance.text == tokenizer.decode([token])
        assert chance.logprob == pytest.approx(float(row_expected[token]), abs=1e-4)
        assert [value for _, value in chance.top] == pytest.approx(row_expected.topk(4).values.tolist(), abs=1e-4)


def test_tokens_of_a_stop_text_are_not_among_them(in_process: Any, bare: Bare) -> None:
    whole = bare.answer("base", SHORT)
    row = in_process.ask("base", SHORT, logprobs=True, stop=[whole[4:6]])
    text, _ = row.result()
    shown = "".join(chance.text for event in row.heard if isinstance(event, Piece) for chance in event.chances)
    assert len(shown.replace("\ufffd", "")) <= len(text)


# Other kinds of models


@pytest.fixture(scope="module")
def kinds(tiny_models: Any) -> dict[str, Path]:
    """Models whose layers see a window only, or keep a state."""
    import torch
    from transformers import AutoTokenizer, Lfm2Config, Lfm2ForCausalLM, MistralConfig, MistralForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_models.root / "base")
    shape = {
        "vocab_size": len(tokenizer), "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.3,
        "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    torch.manual_seed(4)
    made = {
        "window": MistralForCausalLM(MistralConfig(**shape, sliding_window=12)),
        "state": Lfm2ForCausalLM(Lfm2Config(**shape, layer_types=["conv", "full_attention"])),
    }
    for name, model in made.items():
        model.save_pretrained(tiny_models.root / name)
        tokenizer.save_pretrained(tiny_models.root / name)
    return {name: tiny_models.root / name for name in made}


@pytest.mark.parametrize("name", ["window", "state"])
def test_models_with_windows_and_states_answer_as_bare_ones(in_process: Any, kinds: dict[str, Path], name: str) -> None:
    bare = Bare(kinds[name].parent, bases=tuple(kinds))
    in_process.desk.register(name, str(kinds[name]), None)
    for text in (SHORT, LONG):
        assert told(in_process.ask(name, text)) == bare.answer(name, text)
    rows = in_process.together((name, LONG), (name, SHORT), (name, LONG + SHORT))
    assert [told(row) for row in rows] == [bare.answer(name, text) for text in (LONG, SHORT, LONG + SHORT)]
    late = beside(in_process, (name, LONG), (name, SHORT))
    assert [told(row) for row in late] == [bare.answer(name, text) for text in (LONG, SHORT)]


@pytest.mark.parametrize("name", ["window", "state"])
def test_a_pass_that_ran_out_of_memory_is_run_again_only_where_that_changes_nothing(
    in_process: Any, kinds: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import torch

    from workbench.worker.engine.adapters import Adapters

    bare = Bare(kinds[name].parent, bases=tuple(kinds))
    in_process.desk.register(name, str(kinds[name]), None)
    in_process.ask(name, SHORT).result()
    run, calls = Adapters.run, 0

    def starved(self: Any, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        output = run(self, *arguments)  # the layers have written what they write
        if calls == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return output

    monkeypatch.setattr(Adapters, "run", starved)
    row = in_process.ask(name, LONG)
    if name == "state":
        assert code_of(row) == "out_of_memory"
    assert told(in_process.ask(name, LONG) if name == "state" else row) == bare.answer(name, LONG)
    assert calls > 4


# Long chats


def chat(turns: int, system: str = "") -> list[dict[str, str]]:
    """Turns of 20 to 22 characters, which are as many tokens here, the last one a question."""
    first = [{"role": "system", "content": system}] if system else []
    return first + [{"role": ("user", "assistant")[n % 2], "content": f"{n:02d} " + "x" * 17} for n in range(turns)]


def test_a_long_chat_goes_on_without_its_oldest_turns_and_says_so(in_process: Any, bare: Bare) -> None:
    whole = chat(13, system="Be brief.")
    row = in_process.ask("base", "", messages=whole, truncation="auto", max_tokens=4)
    text, done = row.result()
    notices = [event.text for event in row.heard if isinstance(event, Notice)]
    assert len(notices) == 1 and "oldest turns were left out" in notices[0]
    left_out = int(notices[0].split(": the ")[1].split(" ")[0])
    shown = [whole[0], *whole[1 + left_out :]]
    assert shown[1]["role"] == "user"
    again = in_process.ask("base", "", messages=shown, max_tokens=4)
    assert (again.result()[0], again.result()[1].prompt_tokens) == (text, done.prompt_tokens)


def test_what_is_left_out_stays_the_same_for_some_turns_so_that_the_rest_is_remembered(in_process: Any) -> None:
    speaker = in_process.scheduler._resident.prepare(in_process.desk.place("base")).speaker
    from workbench.worker.engine.trimming import fitted

    prompts = [fitted(speaker, chat(turns), 600, 8, "base") for turns in range(1, 60, 2)]
    cut = [ids for ids, notice in prompts if notice]
    assert all(len(ids) <= 592 for ids, _ in prompts)
    assert [bool(notice) for _, notice in prompts] == sorted(bool(notice) for _, notice in prompts)
    begun_alike = [one[:100] == other[:100] for one, other in pairwise(cut)]
    assert sum(begun_alike) >= 0.6 * len(begun_alike)


def test_a_last_question_that_is_too_long_by_itself_is_refused(in_process: Any) -> None:
    from workbench.worker.engine.wire import Refusal

    messages = [*chat(4), {"role": "user", "content": "x" * 300}]
    with pytest.raises(Refusal) as caught:
        in_process.ask("base", "", messages=messages, truncation="auto").result()
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("turns_before", [0, 4])
def test_a_last_question_that_leaves_little_room_for_the_answer_is_still_read(
    in_process: Any, bare: Bare, turns_before: int
) -> None:
    question = "x" * 200  # with its template more than three quarters of the context, and less than all of it
    messages = [*chat(turns_before), {"role": "user", "content": question}]
    row = in_process.ask("base", "", messages=messages, truncation="auto", max_tokens=100)
    alone = in_process.ask("base", question, max_tokens=100)
    assert row.result()[0] == alone.result()[0]
    assert 256 * 3 // 4 < row.result()[1].prompt_tokens == alone.result()[1].prompt_tokens < 256
    assert any(isinstance(event, Notice) for event in row.heard) == bool(turns_before)


# Loading


@pytest.mark.parametrize(
    ("billions", "rooms", "precision", "where"),
    [
        (1, [10], "bfloat16", {"": 0}),
        (3, [10, 10], "bfloat16", {"": 0}),
        (3, [4, 10], "bfloat16", {"": 1}),
        (7, [10, 10], "bfloat16", "balanced"),
        (8, [10], "8bit", {"": 0}),
        (12, [10], "4bit", {"": 0}),
        (70, [10, 10], "bfloat16", "auto"),
    ],
)
def test_numbers_and_places_are_chosen_by_what_fits(
    monkeypatch: pytest.MonkeyPatch, billions: int, rooms: list[int], precision: str, where: Any
) -> None:
    import torch

    from workbench.worker.engine import loading

    monkeypatch.setattr(loading, "natural", lambda device: "bfloat16")
    monkeypatch.setattr(loading, "_rooms", lambda device: [room * 10**9 for room in rooms])
    monkeypatch.setattr(loading, "parameters", lambda path: billions * 10**9)
    choice = loading.choose("/nowhere", torch.device("cuda"))
    assert (choice.precision, choice.device_map) == (precision, where)
    assert bool(choice.reason) == (precision != "bfloat16" or where == "auto")
    assert loading.choose("/nowhere", torch.device("cuda"), "4bit").precision == "4bit"


def test_what_is_quantised_already_is_left_as_it_is(tiny_models: Any, tmp_path: Path) -> None:
    import torch

    from workbench.worker.engine import loading

    shutil.copytree(tiny_models.root / "base", tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps(config | {"quantization_config": {"bits": 4}}))
    assert loading.choose(str(tmp_path / "base"), torch.device("cpu"), "8bit").precision == "float32"


def test_parameters_are_counted_from_the_files_headers(tiny_models: Any, bare: Bare) -> None:
    from workbench.worker.engine.loading import parameters

    assert parameters(str(tiny_models.root / "base")) == bare.model("base").num_parameters()
    assert parameters("some/hub-id") is None


def test_eight_bits_answer_as_bare_eight_bits_do(tiny_models: Any) -> None:
    import torch
    from transformers import BitsAndBytesConfig

    from workbench.worker.engine import loading
    from workbench.worker.engine.desk import Place

    model, choice = loading.load(Place("base", str(tiny_models.root / "base")), torch.device("cpu"), "8bit")
    options = {"quantization_config": BitsAndBytesConfig(load_in_8bit=True), "device_map": {"": "cpu"}}
    expected = Bare(tiny_models.root, dtype=torch.float32, **options).model("base")
    ids = torch.arange(3, 40)[None]
    assert choice.precision == "8bit"
    assert torch.equal(model(ids).logits, expected(ids).logits)
