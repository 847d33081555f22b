"""What may be served together, and who needs a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.domain.endpoints import Endpoint
from workbench.domain.models import ModelKind
from workbench.domain.serving import ServeSpec, serve_spec_from_dict
from workbench.errors import RefusedError, UsageError
from workbench.flows import serving
from workbench.flows.bench import Bench


@pytest.fixture
def models(bench: Bench, tmp_path: Path) -> Bench:
    """Two bases, and an adapter on the first."""
    for base in ("one", "two"):
        (tmp_path / base).mkdir()
        bench.store.models.add(base, ModelKind.BASE, str(tmp_path / base))
    bench.store.models.add("lora", ModelKind.ADAPTER, str(tmp_path / "lora"), base="one")
    return bench


def spec(bench: Bench, *names: str, **options: Any) -> ServeSpec:
    return ServeSpec(serving.places(bench, names), **options)


def test_a_base_is_served_with_its_adapters_once(models: Bench) -> None:
    assert [place.name for place in serving.places(models, ["lora", "one", "lora"])] == ["one", "lora"]


def test_one_server_keeps_one_base(models: Bench) -> None:
    with pytest.raises(RefusedError, match="one, two"):
        serving.places(models, ["lora", "two"])


def test_a_model_on_another_server_is_not_served_again(models: Bench) -> None:
    models.store.models.add("far", ModelKind.ENDPOINT, Endpoint("http://localhost:1/v1", "m").address)
    with pytest.raises(RefusedError, match="another server"):
        serving.places(models, ["far"])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_what_others_can_reach_needs_a_key(models: Bench, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no API key"):
        serving.check(spec(models, "one", host=host))
    monkeypatch.setenv("OUR_KEY", "secret")
    assert serving.check(spec(models, "one", host=host, api_key_env="OUR_KEY")).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_this_machine_alone_needs_none(models: Bench, host: str) -> None:
    assert serving.check(spec(models, "one", host=host)).is_local


def test_an_empty_key_is_no_key(models: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "")
    with pytest.raises(UsageError, match="OUR_KEY"):
        serving.check(spec(models, "one", api_key_env="OUR_KEY"))


def test_a_spec_comes_through_json_as_it_was(models: Bench) -> None:
    given = spec(models, "lora", origins=("https://a.example",), precision="4bit", port=0)
    assert serve_spec_from_dict(json.loads(json.dumps(given.as_dict()))) == given
