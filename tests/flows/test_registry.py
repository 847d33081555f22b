from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from workbench.domain.models import Model, ModelKind
from workbench.domain.runs import RunSpec
from workbench.domain.serving import ModelPlace
from workbench.errors import DataError, NotFoundError, RefusedError
from workbench.flows import registry
from workbench.flows.bench import Bench
from workbench.jobs.run_facts import weights_hash
from workbench.paths import shipped

ROOT = Path(__file__).resolve().parents[2]


def tensors(*shapes: tuple[int, ...]) -> bytes:
    """A safetensors file of float32 zeros."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for number, shape in enumerate(shapes):
        size = 4
        for length in shape:
            size *= length
        header[f"t{number}"] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(offset)


def model_folder(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True)
    values = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 64} | config
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "model.safetensors").write_bytes(tensors((4, 8), (8,)))
    return folder


def adapter_folder(folder: Path, base: object) -> Path:
    folder.mkdir(parents=True)
    config = {"base_model_name_or_path": base, "peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(tensors((2, 2)))
    return folder


def names(bench: Bench) -> list[str]:
    return [model.name for model in registry.list_models(bench)]


def test_a_new_workspace_has_the_model_that_is_shipped(bench: Bench) -> None:
    model = bench.store.models.default()
    assert (model.name, model.kind) == ("pip", ModelKind.BASE)
    assert Path(model.path) == shipped("sample_data").resolve() / "model"
    weights = (Path(model.path) / "model.safetensors").read_bytes()
    assert model.sha256 == hashlib.sha256(weights).hexdigest()


def test_a_workspace_with_models_is_left_as_it_is(bench: Bench, tmp_path: Path) -> None:
    registry.add_model(bench, model_folder(tmp_path / "mine"))
    registry.remove_model(bench, "pip")
    registry.ensure_embedded(bench.store)
    assert names(bench) == ["mine"]


def test_the_model_that_is_shipped_is_found_again_where_the_program_is_installed_now(
    bench: Bench, tmp_path: Path
) -> None:
    here = bench.store.models.default()
    own = registry.add_model(bench, model_folder(tmp_path / "mine"))
    shutil.rmtree(own.path)
    bench.store.models.move(here.id, str(tmp_path / "an-earlier-installation" / "model"))
    registry.ensure_embedded(bench.store)
    assert bench.store.models.get("pip") == here
    assert bench.store.models.get("mine") == own, "other weights that are gone stay where they were"


def test_a_folder_is_registered_under_its_name_with_its_hash(bench: Bench, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "my model (v1)")
    model = registry.add_model(bench, folder)
    assert (model.name, model.kind, model.path) == ("my-model-v1", ModelKind.BASE, str(folder))
    assert registry.add_model(bench, str(folder)) == model, "the same folder again is the same model"
    assert registry.add_model(bench, folder, name="other").name == "other"
    assert registry.add_model(bench, model_folder(tmp_path / "b" / "my-model-v1")).name == "my-model-v1-2"


def test_a_relative_path_is_kept_whole(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_folder(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    assert registry.add_model(bench, "m").path == str(tmp_path / "m")


def test_the_hash_of_several_files_is_that_of_their_sums(bench: Bench, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    for number in (2, 1):
        (folder / f"model-0000{number}-of-00002.safetensors").write_bytes(tensors((number,)))
    sums = subprocess.run(
        "sha256sum model-*.safetensors | sha256sum", shell=True, cwd=folder, capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert registry.add_model(bench, folder).sha256 == sums


@pytest.mark.parametrize("name", ["org/name", "HuggingFaceTB/SmolLM2-135M", "a/b.c_d-e"])
def test_a_hub_id_is_taken_by_its_form(bench: Bench, name: str) -> None:
    model = registry.add_model(bench, name)
    assert (model.path, model.name, model.sha256) == (name, name.partition("/")[2], "")
    assert registry.add_model(bench, name) == model
    assert registry.describe(bench, model)["present"] is True


@pytest.mark.parametrize("text", ["nothing-here", "/no/such/folder", "./a/b", "a/b/c", "~/nope/x", "org/", "", "../x"])
def test_what_is_neither_folder_nor_hub_id_is_not_found(bench: Bench, tmp_path: Path, text: str) -> None:
    with pytest.raises((NotFoundError, DataError)):
        registry.add_model(bench, text)
    assert names(bench) == ["pip"]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl", "W.BIN"])
def test_pickled_weights_are_refused(bench: Bench, tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(RefusedError, match=r"pickled.*" + name.replace(".", r"\.")):
        registry.add_model(bench, folder)
    assert names(bench) == ["pip"]


def test_a_pickled_adapter_is_refused_also_beside_other_tensors(bench: Bench, tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "a", "pip")
    (folder / "adapter_model.safetensors").rename(folder / "unrelated.safetensors")
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(RefusedError, match="pickled"):
        registry.add_model(bench, folder)


def test_what_a_trainer_left_beside_safe_weights_does_no_harm(bench: Bench, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "checkpoint-10")
    (folder / "training_args.bin").write_bytes(b"\x80\x04.")
    assert registry.add_model(bench, folder).name == "checkpoint-10"


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "processor_config.json"])
def test_a_model_that_brings_its_own_code_is_refused(bench: Bench, tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path / "m")
    (folder / name).write_text(json.dumps({"auto_map": {"AutoModelForCausalLM": "modeling_x.X"}}))
    with pytest.raises(RefusedError, match="own program code") as caught:
        registry.add_model(bench, folder)
    assert caught.value.where == str(folder / name)


def test_folders_without_a_model_are_refused_with_what_is_missing(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    no_weights = model_folder(tmp_path / "m")
    (no_weights / "model.safetensors").unlink()
    broken = model_folder(tmp_path / "b")
    (broken / "config.json").write_text("{")
    listed = model_folder(tmp_path / "c")
    (listed / "config.json").write_text("[]")
    file = tmp_path / "file.gguf"
    file.write_bytes(b"GGUF")
    for path, reason in {
        tmp_path / "empty": "no model",
        no_weights: "no .safetensors",
        broken: "cannot be read",
        listed: "not a JSON object",
        file: "is a file",
    }.items():
        with pytest.raises(DataError, match=reason):
            registry.add_model(bench, path)


def test_an_adapter_finds_its_base_by_path_and_by_name(bench: Bench, tmp_path: Path) -> None:
    pip = bench.store.models.default()
    by_path = registry.add_model(bench, adapter_folder(tmp_path / "one", pip.path))
    by_name = registry.add_model(bench, adapter_folder(tmp_path / "two", "pip"))
    relative = os.path.relpath(pip.path, tmp_path / "three")
    beside = registry.add_model(bench, adapter_folder(tmp_path / "three", relative))
    assert [(m.kind, m.base) for m in (by_path, by_name, beside)] == [(ModelKind.ADAPTER, "pip")] * 3
    assert names(bench) == ["pip", "one", "two", "three"]


def test_an_adapters_base_is_registered_with_it(bench: Bench, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "base")
    assert registry.add_model(bench, adapter_folder(tmp_path / "one", str(folder))).base == "base"
    assert registry.add_model(bench, adapter_folder(tmp_path / "two", "org/big")).base == "big"
    assert bench.store.models.get("big").path == "org/big"


@pytest.mark.parametrize("base", ["gone", "/no/such/folder", "", None, 5])
def test_an_adapter_without_its_base_is_refused_and_nothing_stays(bench: Bench, tmp_path: Path, base: object) -> None:
    with pytest.raises((NotFoundError, DataError)):
        registry.add_model(bench, adapter_folder(tmp_path / "a", base))
    assert names(bench) == ["pip"]


def test_an_adapter_on_an_adapter_is_refused_and_nothing_stays(bench: Bench, tmp_path: Path) -> None:
    first = adapter_folder(tmp_path / "one", "pip")
    with pytest.raises(RefusedError, match="needs a base"):
        registry.add_model(bench, adapter_folder(tmp_path / "two", str(first)))
    assert names(bench) == ["pip"]


def test_an_adapter_that_names_itself_as_its_base_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="needs a base"):
        registry.add_model(bench, adapter_folder(tmp_path / "own", str(tmp_path / "own")))
    assert names(bench) == ["pip"]


def test_other_benches_can_write_while_weights_are_hashed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, free = weights_hash, []

    def hash_and_look(files: tuple[Path, ...]) -> str:
        with FileLock(bench.workspace.lock, timeout=0, is_singleton=False):
            free.append(files[0].parent.name)
        return digest(files)

    monkeypatch.setattr(registry, "weights_hash", hash_and_look)
    registry.add_model(bench, adapter_folder(tmp_path / "tuned", str(model_folder(tmp_path / "base"))))
    assert sorted(free) == ["base", "tuned"]


def test_what_another_bench_registered_during_the_hashing_is_not_registered_twice(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, digest = model_folder(tmp_path / "m"), weights_hash

    def hash_late(files: tuple[Path, ...]) -> str:
        bench.store.models.add("theirs", ModelKind.BASE, str(folder))
        return digest(files)

    monkeypatch.setattr(registry, "weights_hash", hash_late)
    assert registry.add_model(bench, folder).name == "theirs"
    assert names(bench) == ["pip", "theirs"]


def test_the_engine_is_told_the_place_of_a_model_and_of_its_base(bench: Bench, tmp_path: Path) -> None:
    pip = bench.store.models.default()
    adapter = registry.add_model(bench, adapter_folder(tmp_path / "tuned", "pip"))
    base = ModelPlace("pip", pip.path)
    assert registry.place(bench, "") == base
    assert registry.place(bench, "tuned") == ModelPlace("tuned", adapter.path, base)
    with pytest.raises(NotFoundError):
        registry.place(bench, "missing")


def test_a_model_is_described_from_its_files(bench: Bench, tmp_path: Path) -> None:
    shown = registry.describe(bench, registry.add_model(bench, model_folder(tmp_path / "m")))
    assert (shown["parameters"], shown["dtype"], shown["context"]) == (4 * 8 + 8, "F32", 64)
    assert shown["architecture"] == "LlamaForCausalLM"
    adapter = registry.describe(bench, registry.add_model(bench, adapter_folder(tmp_path / "a", "m")))
    assert (adapter["kind"], adapter["base"], adapter["r"], adapter["lora_alpha"]) == ("adapter", "m", 8, 16)
    assert json.loads(json.dumps(shown)) == shown


def test_the_run_that_made_a_model_is_shown(bench: Bench, tmp_path: Path) -> None:
    run = bench.store.runs.add(RunSpec("nice", "sft", "pip", "/p", "d", {}, 1, 0, ""), "/runs/1-nice")
    adapter = adapter_folder(tmp_path / "a", "pip")
    made: Model = bench.store.models.add("nice", ModelKind.ADAPTER, str(adapter), base="pip", run_id=run.id)
    assert registry.describe(bench, made)["run"] == "nice"


def test_a_model_whose_folder_is_gone_can_still_be_shown_and_removed(bench: Bench, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m")
    model = registry.add_model(bench, folder)
    shutil.rmtree(folder)
    assert registry.describe(bench, model)["present"] is False
    registry.remove_model(bench, "m")
    assert names(bench) == ["pip"]


def test_removing_a_model_leaves_its_files(bench: Bench, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m")
    registry.add_model(bench, folder)
    registry.remove_model(bench, "m")
    assert (folder / "model.safetensors").exists()


def test_opening_a_bench_loads_no_library_for_numbers_or_models(tmp_path: Path) -> None:
    code = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
from fakes import FakeEngine
from workbench.flows.bench import Bench
from workbench.flows import curate, exchange, registry
from workbench.paths import Workspace
bench = Bench.open(Workspace(Path({str(tmp_path / "w")!r})), engine=FakeEngine(), rater="r")
registry.describe(bench, bench.store.models.default())
bench.close()
heavy = ["torch", "transformers", "datasets", "pandas", "numpy", "scipy", "textual", "rich", "httpx"]
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
