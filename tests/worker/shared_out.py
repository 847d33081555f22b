"""Run by ``test_shared_out.py``, twice at once: a LoRA Llama shared out by FSDP2 on a CPU, beside one that is whole.

Accelerate shares nothing out on a CPU. So it is told here that it may; the settings are those that its launcher made of
the run's configuration, and the rest is its own doing: wrapping, sharding, gathering.
"""

from __future__ import annotations

import copy

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}


def main() -> None:
    """Train both three steps and print what came of it."""
    plugin = FullyShardedDataParallelPlugin()
    accelerator = Accelerator(cpu=True)
    for state in (PartialState, AcceleratorState):
        state._shared_state["distributed_type"] = DistributedType.FSDP
    AcceleratorState._shared_state["fsdp_plugin"] = plugin
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    shared = get_peft_model(LlamaForCausalLM(LlamaConfig(num_attention_heads=2, **SIZES)), config)
    whole = copy.deepcopy(shared)
    learning = [[p for p in model.parameters() if p.requires_grad] for model in (shared, whole)]
    optimiser, plain = (torch.optim.SGD(weights, lr=0.5) for weights in learning)
    shared, optimiser = accelerator.prepare(shared, optimiser)
    ids = torch.arange(16).reshape(2, 8)
    for _ in range(3):
        for model, steps in ((shared, optimiser), (whole, plain)):
            steps.zero_grad()
            loss = model(input_ids=ids, labels=ids).loss
            accelerator.backward(loss) if model is shared else loss.backward()
            steps.step()
    weight = next(weight for name, weight in shared.named_parameters() if "lora_B" in name)
    here, all_of_it = tuple(weight.to_local().shape), tuple(weight.shape)
    gathered = accelerator.get_state_dict(shared)
    if accelerator.is_main_process:
        wanted = dict(whole.named_parameters())
        same = all(torch.allclose(gathered[name], wanted[name], atol=1e-5) for name in wanted)
        print(f"fsdp {plugin.fsdp_version}: {type(weight).__name__} {here} of {all_of_it}, gathered the same: {same}")


if __name__ == "__main__":
    main()
