"""``python -m workbench.worker.doctor``: one JSON line on what torch and bitsandbytes can do here. Changes nothing."""

from __future__ import annotations

import json
import os
import warnings


def report() -> dict[str, object]:
    """Devices, threads, whether bf16 works, and whether a 4-bit round trip gives back nearly what went in."""
    import torch

    devices = [
        f"{torch.cuda.get_device_name(i)}, {torch.cuda.mem_get_info(i)[0] / 2**30:.1f} GB free"
        for i in range(torch.cuda.device_count())
    ]
    device = "cuda" if devices else "cpu"
    return {
        "torch": torch.__version__,
        "devices": devices,
        "threads": torch.get_num_threads(),
        "bf16": torch.cuda.is_bf16_supported() if devices else True,
        "four_bit": _four_bit(device),
        "four_bit_device": device,
    }


def _four_bit(device: str) -> str:
    """``ok``, or what went wrong in quantising and dequantising one matrix (64, 64) to nf4."""
    import torch

    try:
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        weights = torch.linspace(-1, 1, 64 * 64, device=device).reshape(64, 64)
        packed, state = quantize_4bit(weights, quant_type="nf4")
        error = (dequantize_4bit(packed, state) - weights).abs().max().item()
    except (ImportError, RuntimeError, OSError, NotImplementedError) as problem:
        return f"{type(problem).__name__}: {problem}"
    return "ok" if error < 0.2 else f"the round trip is off by {error:.2f}"


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    warnings.simplefilter("ignore")
    print(json.dumps(report()))
