"""Muon for small matrices on a CPU, in float32.

Keller Jordan's Muon (https://kellerjordan.github.io/posts/muon/): momentum, then five Newton-Schulz steps that
bring the update near an orthogonal matrix. `torch.optim.Muon` does the same in bfloat16, which is slow on CPUs
without bf16 arithmetic, and one matrix at a time; here matrices of one shape are handled together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum over two-dimensional parameters."""

    def __init__(self, params: Iterable[torch.nn.Parameter], *, lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                self._update(parameters, shape, lr=group["lr"], momentum=group["momentum"])

    def _update(self, parameters: list[torch.nn.Parameter], shape: torch.Size, *, lr: float, momentum: float) -> None:
        directions = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            state["momentum"].lerp_(parameter.grad, 1 - momentum)
            directions.append(parameter.grad.lerp(state["momentum"], momentum))
        updates = orthogonalise(torch.stack(directions))
        scale = max(1.0, shape[0] / shape[1]) ** 0.5
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.add_(update, alpha=-lr * scale)


def orthogonalise(matrices: torch.Tensor, *, steps: int = 5) -> torch.Tensor:
    """Matrices of shape (count, rows, columns) brought near orthogonal by a quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
