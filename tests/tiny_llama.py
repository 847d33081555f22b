"""A random Llama of some ten thousand parameters with a real chat template, made in a second: what ML tests train."""

from __future__ import annotations

import json
from pathlib import Path

from workbench.domain.methods import KnobValue
from workbench.domain.runs import RunSpec
from workbench.jobs.run_directory import RunDirectory
from workbench.methods import get

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|im_end|>\n{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WITHOUT_STOP = TEMPLATE.replace(
    "{{ message['content'] }}<|im_end|>\n{% endgeneration %}", "{{ message['content'] }}\n{% endgeneration %}"
)
WITH_A_THOUGHT = TEMPLATE.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>{% endif %}")
WITH_TOOLS = "{% if tools %}<|im_start|>tools\n{{ tools[0]['function']['name'] }}<|im_end|>\n{% endif %}" + TEMPLATE
WITH_CALLS = TEMPLATE.replace(
    "{% generation %}{{ message['content'] }}",
    "{% generation %}{% for call in message['tool_calls'] %}{{ call['function']['arguments'] | tojson }}{% endfor %}"
    "{{ message['content'] }}",
)
WITHOUT_LAST_STOP = TEMPLATE.replace(
    "<|im_end|>\n{% endgeneration %}",
    "{% if not loop.last %}<|im_end|>{% endif %}\n{% endgeneration %}",
)

QUESTIONS = (
    "red",
    "green",
    "blue",
    "the sea",
    "a bird",
    "the moon",
    "tea",
    "rain",
    "snow",
    "a long way home in the dark",
)


def make(folder: Path, *, template: str = TEMPLATE) -> Path:
    """A model folder as a hub has it: config, safetensors, tokenizer with template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        QUESTIONS, trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|pad|>")
    tokenizer.chat_template = template
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


_SHAPES = dict.fromkeys(("reward", "orpo", "simpo", "cpo"), "dpo") | dict.fromkeys(("grpo", "distillation"), "rloo")


REWARD = """
def reward(completions, **rest):
    return [float(turns[0]["content"].count("e")) for turns in completions]
"""


def rows(kind: str, count: int) -> list[dict[str, object]]:
    """Rows of different lengths in TRL's conversational form, for the method of this name."""
    made: list[dict[str, object]] = []
    for number in range(count):
        topic = QUESTIONS[number % len(QUESTIONS)]
        prompt = [{"role": "user", "content": f"What about {topic}? ({number})"}]
        good = [{"role": "assistant", "content": f"{topic} is fine."}]
        bad = [{"role": "assistant", "content": f"I could talk of {topic} for days and days."}]
        made.append(
            {
                "sft": {"prompt": prompt, "completion": good},
                "dpo": {"prompt": prompt, "chosen": good, "rejected": bad},
                "kto": {"prompt": prompt, "completion": good if number % 3 else bad, "label": bool(number % 3)},
                "cpt": {"text": f"There is much to say about {topic}, and {topic} is fine. ({number})"},
                "rloo": {"prompt": prompt, "answer": ""},
            }[_SHAPES.get(kind, kind)]
        )
    return made


def make_run(
    root: Path, base: Path, method: str = "sft", *, train: int = 24, held_out: int = 7, **given: object
) -> RunDirectory:
    """A run directory that is ready to train; ``given`` are knobs, ``adapter_path`` to go on from,
    ``teacher_path`` (on ``teacher_base_path``) to learn from, or ``lines``.
    """
    own_lines = given.pop("lines", None)
    adapter_path = str(given.pop("adapter_path", ""))
    teacher_path, teacher_base = (str(given.pop(f"teacher_{name}", "")) for name in ("path", "base_path"))
    source = str(given.pop("source", REWARD)) if method in {"rloo", "grpo"} else ""
    knobs: dict[str, KnobValue] = get(method).values("tiny", {name: str(value) for name, value in given.items()})
    spec = RunSpec(
        name=root.name,
        method=method,
        base="tiny",
        base_path=str(base),
        dataset="chats",
        knobs=knobs,
        train_rows=train,
        eval_rows=held_out,
        row_hash="",
        adapter="before" if adapter_path else "",
        adapter_path=adapter_path,
        reward="reward",
        reward_path="my_reward.py" if method in ("rloo", "grpo") else "",
        teacher="teacher" if teacher_path else "",
        teacher_path=teacher_path,
        teacher_base_path=teacher_base,
    )
    lines = list(own_lines) if isinstance(own_lines, list) else [json.dumps(r) for r in rows(method, train + held_out)]
    directory = RunDirectory.create(root, spec, lines[:train], lines[train:])
    if source:
        directory.reward_file.write_text(source)
    return directory
