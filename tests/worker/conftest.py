"""A random little Llama, and the trainer run in this process: its imports cost seconds, once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.jobs.run_directory import RunDirectory


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a base model that trains in milliseconds a step."""
    os.environ.setdefault("GOMP_SPINCOUNT", "0")  # before torch loads its OpenMP: other work shares these cores
    import torch

    from tiny_llama import make

    torch.set_num_threads(1)
    return make(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> RunDirectory:
    """A finished SFT run on it, to go on from."""
    from tiny_llama import make_run
    from workbench.worker.trainer import training

    directory = make_run(tmp_path_factory.mktemp("runs") / "before", tiny_llama, max_steps=20, learning_rate=1e-2)
    before = dict(os.environ)
    assert training.train(directory.root) == 0
    os.environ.clear()
    os.environ.update(before)
    return directory


@pytest.fixture
def train() -> Iterator[Callable[[RunDirectory], int]]:
    """The trainer's main, in this process; what it does to the environment ends with the test."""
    from workbench.worker.trainer import training

    before = dict(os.environ)
    yield lambda directory: training.train(directory.root)
    os.environ.clear()
    os.environ.update(before)
