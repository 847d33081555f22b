"""What is made of a model: merged weights, a GGUF file, a card, a place on the hub; with the children faked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from finished_run import add_rows, finish, launched, nobody
from workbench.domain.models import ModelKind
from workbench.errors import DataError, NotFoundError, RefusedError, WorkbenchError
from workbench.flows import gguf_export, merging, model_card, publishing, train
from workbench.flows.bench import Bench
from workbench.jobs.run_directory import RunDirectory, spec_as_dict


@pytest.fixture
def adapter(bench: Bench) -> str:
    """A registered adapter that a finished run made."""
    add_rows(bench)
    run = launched(bench, name="mine")
    finish(bench, run, adapter=True)
    train.sync(bench, start_runner=nobody)
    return bench.store.runs.get(run.id).adapter


def child(same: int, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A merging that takes no weights; gives what it was asked."""
    asked: list[Any] = []

    def converse(module: str, arguments: list[str], lines: list[str], **rest: object) -> Iterator[str]:
        asked.extend([module, arguments, [json.loads(line) for line in lines]])
        folder = Path(arguments[arguments.index("--to") + 1])
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"1234")
        (folder / "config.json").write_text("{}")
        yield json.dumps({"step": "merging"})
        figures = {"prompts": 4, "same": same, "largest_difference": 0.25, "dtype": "bfloat16", "first_other": "hm?"}
        yield json.dumps({"merged": figures})

    monkeypatch.setattr(merging, "converse", converse)
    return asked


def test_a_merged_model_is_registered_with_its_run_once_its_answers_are_the_same(
    adapter: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, steps = child(4, monkeypatch), []
    made = merging.merge(bench, adapter, on_step=steps.append)
    assert (made.model.name, made.model.kind) == ("mine-merged", ModelKind.BASE)
    assert made.model.run_id == bench.store.runs.get("mine").id
    assert Path(made.model.path) == bench.workspace.root / "models" / "mine-merged"
    assert "4 of 4" in made.said and steps == ["merging"]
    assert bench.store.models.get("pip").path in asked[1]
    assert asked[2][0]["prompt"][0]["content"].startswith("Question")


def test_other_answers_than_before_are_refused_and_leave_nothing(
    adapter: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(3, monkeypatch)
    with pytest.raises(RefusedError, match="1 of 4 greedy answers"):
        merging.merge(bench, adapter)
    assert list((bench.workspace.root / "models").iterdir()) == []
    assert merging.merge(bench, adapter, allow=True).same == 3


def test_only_adapters_are_merged_and_only_to_free_names(
    adapter: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(4, monkeypatch)
    with pytest.raises(RefusedError, match="only adapters"):
        merging.merge(bench, "pip")
    with pytest.raises(RefusedError, match="is there already"):
        merging.merge(bench, adapter, as_name="pip")


def test_another_shape_is_refused_with_the_command_that_converts_it(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def converse(*args: object, **rest: object) -> Iterator[str]:
        raise WorkbenchError("gguf_file failed: Qwen2ForCausalLM is not a plain Llama")

    monkeypatch.setattr(gguf_export, "converse", converse)
    with pytest.raises(RefusedError, match="Qwen2ForCausalLM is not a plain Llama") as refused:
        gguf_export.export(bench, "pip", tmp_path / "a.gguf")
    assert "convert_hf_to_gguf.py" in refused.value.hint and str(tmp_path / "a.gguf") in refused.value.hint


def test_without_the_package_the_extra_is_named(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def converse(*args: object, **rest: object) -> Iterator[str]:
        raise WorkbenchError("gguf_file failed: the package gguf is not installed")

    monkeypatch.setattr(gguf_export, "converse", converse)
    with pytest.raises(RefusedError) as refused:
        gguf_export.export(bench, "pip", tmp_path / "a.gguf")
    assert "workbench[gguf]" in refused.value.hint


def test_an_adapter_is_merged_before_it_is_exported(adapter: str, bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as refused:
        gguf_export.export(bench, adapter, tmp_path / "a.gguf")
    assert "models merge mine" in refused.value.hint
    assert refused.value.message == "mine is an adapter: only whole models are exported"


def test_a_card_says_where_a_model_comes_from_what_it_measured_and_how_to_use_it(adapter: str, bench: Bench) -> None:
    made = model_card.write_card(bench, adapter, licence="apache-2.0")
    text = made.file.read_text().replace("\\", "")
    directory = RunDirectory(Path(bench.store.runs.get("mine").directory))
    for part in (
        "library_name: peft",
        "# base_model: the id on the hub of pip",
        'from_pretrained("PATH_OR_ID_OF_pip")',
        '- "lora"',
        'license: "apache-2.0"',
        "27 rows of chats" if directory.spec().train_rows == 27 else "rows of chats",
        "held-out loss",
        "It forgot",
        "PeftModel.from_pretrained",
        bench.store.models.get(adapter).sha256,
    ):
        assert part in text, part
    assert made.open == ("what it is meant for", "the base's id on the hub")
    assert str(bench.workspace.root) not in text


def test_a_card_says_which_adapter_was_gone_on_from_of_which_kind_and_a_base_of_the_hub_by_its_id(
    adapter: str, bench: Bench
) -> None:
    model = bench.store.models.get(adapter)
    directory = RunDirectory(Path(bench.store.runs.get("mine").directory))
    told = directory.spec()
    directory.write_json(
        directory.root / "spec.json",
        spec_as_dict(replace(told, adapter="first", knobs={**told.knobs, "adapter": "ia3"})),
    )
    origin = directory.read_json(directory.origin_file)
    directory.write_json(directory.origin_file, origin | {"adapter_sha256": "ab" * 32})
    bench.store.models.add("hub-base", ModelKind.BASE, "someone/base")
    on_hub = bench.store.models.add("other", ModelKind.ADAPTER, model.path, base="hub-base", run_id=model.run_id)
    text = model_card.card_text(bench, on_hub).replace("\\", "")
    assert f"**went on from** first, SHA-256 {'ab' * 32}" in text and '- "ia3"' in text and '- "lora"' not in text
    assert 'base_model: "someone/base"' in text and 'from_pretrained("someone/base")' in text


def test_a_card_replaces_itself_and_the_one_that_nobody_wrote_in_but_no_persons(adapter: str, bench: Bench) -> None:
    folder = Path(bench.store.models.get(adapter).path)
    own = folder / "README.md"
    own.write_text("# x\n[More Information Needed]\n")
    assert model_card.write_card(bench, adapter).file == own
    assert model_card.write_card(bench, adapter).file == own
    own.write_text("my own words\n")
    assert model_card.write_card(bench, adapter).file.name == "WORKBENCH.md"
    assert own.read_text() == "my own words\n"


def test_the_folder_of_a_model_outside_the_workspace_is_left_as_it_is(bench: Bench) -> None:
    with pytest.raises(RefusedError, match="outside the workspace"):
        model_card.write_card(bench, "pip")


def test_a_push_without_network_is_a_plain_error_and_asks_nothing_of_it(
    adapter: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WorkbenchError, match="switched off"):
        publishing.push(bench, adapter, "me/mine")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(DataError):
        publishing.push(bench, adapter, "not a repository")
    import httpx2
    import huggingface_hub

    def unreachable(*args: object, **rest: object) -> None:
        raise httpx2.ConnectError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", unreachable)
    with pytest.raises(WorkbenchError, match="cannot be reached"):
        publishing.push(bench, adapter, "me/mine")


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a push asks for: refuses with ``code``, or breaks the line while weights come."""

    code = 200

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
        if self.code != 200:
            return self.answer({"error": "You may not write here."}, self.code)
        if self.path.endswith("/batch"):
            upload = {"upload": {"href": f"http://{self.headers['Host']}/weights"}}
            objects = [{"oid": one["oid"], "size": one["size"], "actions": upload} for one in asked["objects"]]
            return self.answer({"transfer": "basic", "objects": objects})
        files = [{"path": one["path"], "uploadMode": "lfs", "shouldIgnore": False} for one in asked.get("files", [])]
        return self.answer({"url": f"http://{self.headers['Host']}/me/mine", "files": files})

    def do_GET(self) -> None:
        self.answer({}, 200 if self.code == 200 else 404)

    def do_PUT(self) -> None:
        self.connection.close()

    def answer(self, document: object, code: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *said: object) -> None: ...


@pytest.mark.parametrize(
    ("code", "said", "hint"),
    [
        (401, r"refused \(401\): .*You may not write here", "HF_TOKEN"),
        (403, r"refused \(403\): .*You may not write here", "right to write for me"),
        (200, "the line to the hub broke", "push again"),
    ],
)
def test_what_the_hub_says_no_to_is_told_and_no_token_is(
    adapter: str,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    code: int,
    said: str,
    hint: str,
) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(Hub, "code", code)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        monkeypatch.delenv("HF_HUB_OFFLINE")
        with pytest.raises(WorkbenchError, match=said) as refused:
            publishing.push(bench, adapter, "me/mine")
        server.shutdown()
    assert hint in refused.value.hint
    told = capfd.readouterr()
    assert "hf_secret" not in f"{refused.value} {told.out} {told.err}"
    assert "%|" not in told.err  # progress is for a terminal


def test_a_push_offers_the_models_own_files_and_nothing_else(
    adapter: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    offered: dict[str, Any] = {}
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda self, repo, **rest: offered.update(rest) or "url")
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", lambda self, **given: offered.update(given))
    (Path(bench.store.models.get(adapter).path) / "optimizer.pt").write_bytes(b"x")
    assert publishing.push(bench, adapter, "me/mine").url == "url"
    assert sorted(offered["allow_patterns"]) == ["adapter_config.json", "adapter_model.safetensors"]
    assert offered["private"] is True


def test_a_model_that_is_not_here_cannot_be_pushed(bench: Bench) -> None:
    bench.store.models.add("far", ModelKind.BASE, "org/far")
    with pytest.raises(NotFoundError):
        publishing.push(bench, "far", "me/far")
