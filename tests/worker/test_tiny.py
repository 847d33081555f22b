"""The embedded model: its corpus, its sample sets, its training script and the weights that are shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.worker.tiny.build_samples import write_rows
from workbench.worker.tiny.corpus import INTENTS, Chat, chats, documents, examinations, holds_facts
from workbench.worker.tiny.phrasing import is_rambling, normalised
from workbench.worker.tiny.tasks import sample_sets
from workbench.worker.tiny.world import World, load_world, sample_data

MODEL = sample_data() / "model"
TRAINING_SETS = ("tickets", "polite", "thumbs")
HELDOUT_SETS = ("heldout", "prompts", "tickets-eval", "polite-eval", "thumbs-eval")


@pytest.fixture(scope="module")
def world() -> World:
    return load_world()


def read_rows(name: str) -> list[dict[str, Any]]:
    lines = (sample_data() / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def prompts_of(names: tuple[str, ...]) -> list[str]:
    return [normalised(row["prompt"][-1]["content"]) for name in names for row in read_rows(name)]


def test_the_corpus_is_decided_by_its_seed(world: World) -> None:
    assert list(chats(world, 3, 50)) == list(chats(world, 3, 50))
    assert list(documents(world, 3, 50)) == list(documents(world, 3, 50))
    assert list(chats(world, 3, 50)) != list(chats(world, 4, 50))


def test_every_intent_has_many_seen_and_some_held_out_phrasings() -> None:
    for intent in INTENTS:
        assert len(intent.seen) >= 4, intent.name
        assert len(intent.heldout) >= 2, intent.name
        assert not set(intent.seen) & set(intent.heldout), intent.name


def test_every_sentence_is_filled_and_every_answer_holds_its_facts(world: World) -> None:
    for chat in chats(world, 5, 3000):
        for turn in chat.turns:
            assert turn.user and turn.assistant
            assert not set("[]|") & set(turn.user + turn.assistant), turn
            if len(turn.assistant) > 40:
                assert holds_facts(turn.assistant, turn.facts), turn


def test_no_held_out_question_is_in_the_training_corpus(world: World) -> None:
    heldout = {normalised(turn.user) for chat in chats(world, 6, 4000, heldout=True) for turn in chat.turns}
    heldout |= set(prompts_of(HELDOUT_SETS))
    trained = {
        normalised(turn.user)
        for document in documents(world, 6, 20_000)
        if isinstance(document, Chat)
        for turn in document.turns
    }
    assert not heldout & trained


def test_no_prompt_is_in_two_sample_sets() -> None:
    prompts = prompts_of(TRAINING_SETS + HELDOUT_SETS)
    assert len(prompts) == 300 + 300 + 200 + 200 + 40 + 60 + 60 + 40
    assert len(set(prompts)) == len(prompts)


def test_the_shipped_sample_sets_are_what_the_script_writes(world: World, tmp_path: Path) -> None:
    for name, rows in sample_sets(world).items():
        write_rows(tmp_path / "rows.jsonl", rows)
        assert (tmp_path / "rows.jsonl").read_bytes() == (sample_data() / f"{name}.jsonl").read_bytes(), name


def test_preference_pairs_prefer_the_concise_answer_over_the_rambling_one() -> None:
    for row in read_rows("polite") + read_rows("polite-eval"):
        chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
        assert not is_rambling(chosen)
        assert is_rambling(rejected)


def test_a_ticket_holds_what_the_message_says() -> None:
    for row in read_rows("tickets") + read_rows("tickets-eval"):
        message, ticket = row["prompt"][0]["content"].lower(), json.loads(row["completion"][0]["content"])
        assert list(ticket) == ["item", "issue", "order", "action"]
        assert ticket["item"] in message
        assert ticket["order"] in message


def test_the_shipped_files_are_at_most_six_megabytes() -> None:
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 6_000_000


@pytest.mark.ml
class TestShippedModel:
    @pytest.fixture(scope="class")
    def loaded(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
        return model.eval(), AutoTokenizer.from_pretrained(MODEL)

    def test_it_answers_facts_from_the_world(self, loaded: tuple[Any, Any], world: World) -> None:
        from workbench.worker.tiny.examine import facts_right

        by_intent, _ = facts_right(*loaded, examinations(world, 1, 1, heldout=False))
        assert sum(by_intent.values()) / len(by_intent) > 0.8

    def test_the_loss_mask_covers_the_answer_and_its_stop_token_alone(self, loaded: tuple[Any, Any]) -> None:
        _, tokenizer = loaded
        messages = [
            {"role": "system", "content": "You are Pip."},
            {"role": "user", "content": "Are you open on Sunday?"},
            {"role": "assistant", "content": "We are closed on Sunday."},
        ]
        encoded = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        masked = [i for i, m in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if m]
        assert tokenizer.decode(masked) == "We are closed on Sunday.<|im_end|>"
        assert masked[-1] == tokenizer.eos_token_id != tokenizer.pad_token_id

    @pytest.mark.parametrize("answer", ["Closed.", " leading space", "\nleading newline", "\n\n  both", "12 é 🙂", ""])
    def test_a_prompts_ids_are_a_prefix_of_the_ids_with_the_answer(self, loaded: tuple[Any, Any], answer: str) -> None:
        _, tokenizer = loaded
        prompt = [{"role": "user", "content": "Are you open?\n"}]
        whole = [*prompt, {"role": "assistant", "content": answer}]
        given = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        ids = tokenizer.apply_chat_template(whole, return_dict=True)["input_ids"]
        assert ids[: len(given)] == given
        assert tokenizer.decode(ids[len(given) :]) == f"{answer}<|im_end|>\n"

    def test_an_unknown_role_is_refused(self, loaded: tuple[Any, Any]) -> None:
        from jinja2 import TemplateError

        with pytest.raises(TemplateError, match="Unknown role: tool"):
            loaded[1].apply_chat_template([{"role": "tool", "content": "1"}])

    def test_the_stop_token_is_known_to_generation(self, loaded: tuple[Any, Any]) -> None:
        model, tokenizer = loaded
        assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert model.generation_config.pad_token_id == tokenizer.pad_token_id


@pytest.mark.ml
def test_a_short_training_run_repeats_bit_for_bit(world: World, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench.worker.tiny.train import Recipe, save, train

    files = []
    for attempt in ("first", "second"):
        model, tokenizer = train(
            Recipe(seed=3, steps=20, batch_size=2, warmup_steps=5, tokenizer_documents=500, threads=1), world
        )
        save(model, tokenizer, tmp_path / attempt)
        files.append((tmp_path / attempt / "model.safetensors").read_bytes())
        files.append((tmp_path / attempt / "tokenizer.json").read_bytes())
    assert files[:2] == files[2:]
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "first").num_parameters() < 1_200_000
    assert AutoTokenizer.from_pretrained(tmp_path / "first").eos_token == "<|im_end|>"
