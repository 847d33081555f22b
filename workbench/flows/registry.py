"""Registering models: folders in Hugging Face's layout, LoRA adapters, hub ids, and models on other servers.

Owns what is refused (pickled weights and custom code, which run as programs when they are loaded) and how an adapter
finds its base. Reads configuration files and tensor headers; never loads weights, and asks no network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.domain.endpoints import checked_endpoint
from workbench.domain.memory import ModelShape, shape_of
from workbench.domain.models import Model, ModelKind
from workbench.domain.serving import ModelPlace
from workbench.errors import DataError, EngineError, NotFoundError, RefusedError
from workbench.jobs.run_facts import weights_hash
from workbench.paths import shipped

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.store.store import Store  # 60 ms that the first paint need not wait for

EMBEDDED = "pip"
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
_CONFIGS = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
_LARGEST_HEADER = 100_000_000  # bytes; what the safetensors library itself allows


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands in a model folder."""

    kind: ModelKind
    folder: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A model looked at and hashed, ready to be registered; ``base`` is there already, or an entry of its own."""

    kind: ModelKind
    path: str
    stem: str
    base: Model | _Entry | None = None
    sha256: str = ""
    key_source: str = ""


def add_model(bench: Bench, path_or_id: str | Path, *, name: str = "") -> Model:
    """Register a folder (a model or an adapter) or a hub id ``org/name``; the same one again gives what is there.

    An adapter's base is found among the registered models, or registered with it. Raises ``RefusedError`` for pickled
    weights and custom code, ``NotFoundError`` or ``DataError`` when there is no model at that place.
    """
    # Hashing reads every byte of the weights, minutes for a large model: never while the store is locked.
    entry = _looked_at(bench.store, str(path_or_id), name)
    return entry if isinstance(entry, Model) else _insert(bench.store, entry, name)


def add_endpoint(
    bench: Bench, url: str, remote: str, *, name: str = "", key_env: str = "", key: str = "", keyring: bool = False
) -> tuple[Model, str]:
    """Register a model on an OpenAI-compatible server, and a word of warning ("" when there is none).

    The workspace keeps the address and where the key is: ``key_env`` names an environment variable; with ``keyring``
    it is in the system's keyring, where ``key``, if given, is put now. One that is registered already takes its key
    from there from now on. The server need not answer yet. Raises ``DataError`` for what is no address, ``EngineError``
    when the keyring cannot be used.
    """
    from workbench.jobs.endpoint import EndpointClient, remember_key

    endpoint = checked_endpoint(url, remote, key_env=key_env, keyring=keyring or bool(key))
    if key:
        remember_key(endpoint, key)
    entry = _Entry(ModelKind.ENDPOINT, endpoint.address, endpoint.model, key_source=endpoint.key_source)
    model = _insert(bench.store, entry, name)
    if endpoint.key_source and endpoint.key_source != model.key_source:
        model = bench.store.models.take_key_from(model.id, endpoint.key_source)
    endpoint = model.endpoint or endpoint
    if endpoint.sends_key_openly:
        return model, f"the key travels to {endpoint.host} unencrypted: use https"
    try:
        served = EndpointClient().served(endpoint)
    except EngineError as error:
        return model, "; ".join([error.message, *([error.hint] if error.hint else [])])
    if endpoint.model not in served:
        return model, f"the server does not list {endpoint.model}; it has {', '.join(served[:8]) or 'nothing'}"
    return model, ""


def list_models(bench: Bench) -> list[Model]:
    """Every registered model, oldest first."""
    return bench.store.models.list()


def remove_model(bench: Bench, name: str) -> Model:
    """Forget a model; its files stay. Refused while adapters are registered on it."""
    return bench.store.models.remove(name)


def place(bench: Bench, name: str) -> ModelPlace:
    """Where the engine finds the model called ``name`` (empty: the workspace's default), with its base."""
    model = bench.store.models.get(name) if name else bench.store.models.default()
    if model.kind is ModelKind.REWARD:
        raise RefusedError(
            f"{model.name} is a reward model: it scores answers and gives none",
            hint=f"workbench train --method rloo --set reward={model.name} learns from its scores",
        )
    base = place(bench, model.base) if model.kind is ModelKind.ADAPTER else None
    return ModelPlace(model.name, model.path, base, model.endpoint)


def describe(bench: Bench, model: Model) -> dict[str, object]:
    """A model for showing: its row in the registry, the run that made it, and what its files say of themselves."""
    run = bench.store.runs.get(model.run_id).name if model.run_id is not None else ""
    shown: dict[str, object] = {
        "id": model.id,
        "name": model.name,
        "kind": model.kind.value,
        "path": model.path,
        "base": model.base,
        "run": run,
        "format": model.format,
        "sha256": model.sha256,
        "note": model.note,
        "created_utc": model.created_utc,
    }
    if (endpoint := model.endpoint) is not None:
        return shown | {"url": endpoint.url, "remote": endpoint.model, "key": endpoint.key_source or "none"}
    folder = Path(model.path)
    return shown | (_facts(folder) if folder.is_dir() else {"present": is_hub_id(model.path)})


def adapter_config(model: Model) -> dict[str, Any]:
    """What ``adapter_config.json`` of a registered adapter says; empty when its folder is gone."""
    return _json(Path(model.path) / "adapter_config.json")


def weight_names(model: Model) -> list[str]:
    """The names of a model's weights, from the headers of its files; empty for a hub id that is not on this disk."""
    return [name for path in sorted(Path(model.path).glob("*.safetensors")) for name, _ in _tensors(path)]


def embedded_folder() -> Path:
    """Where the model lies that is shipped with the program; raises ``NotFoundError`` when that was not installed."""
    return shipped("sample_data") / "model"


def files_hash(model: Model) -> str:
    """The hash of a registered model's weight files as they are now; "" when there are none. Reads them whole."""
    folder = Path(model.path)
    pattern = "adapter_model*.safetensors" if (folder / "adapter_config.json").is_file() else "*.safetensors"
    weights = tuple(sorted(folder.glob(pattern)))
    return weights_hash(weights) if weights else ""


def ensure_embedded(store: Store) -> None:
    """Register the model shipped with the program in a workspace that has no model yet.

    One that was registered where an earlier installation had it is found again by its weights.
    """
    if models := store.models.list():
        _find_embedded_again(store, models)
        return
    folder = embedded_folder()
    if not folder.is_dir():
        return
    entry = _looked_at(store, str(folder), EMBEDDED)
    with store.write():
        if not isinstance(entry, Model) and not store.models.list():
            # in place of a removed one of other weights that was compared, it gets another name
            name = _free_name(store.models.taken_names(entry.path, entry.sha256), EMBEDDED)
            _insert(store, entry, name, note="the tiny model that comes with workbench")


def _find_embedded_again(store: Store, models: Sequence[Model]) -> None:
    bases = [model for model in models if model.kind is ModelKind.BASE and model.sha256]
    lost = [model for model in bases if not is_hub_id(model.path) and not Path(model.path).is_dir()]
    if not lost:
        return
    try:
        folder = embedded_folder().resolve()
    except NotFoundError:
        return
    here = weights_hash(tuple(sorted(folder.glob("*.safetensors"))))
    for model in lost:
        if model.sha256 == here:
            store.models.move(model.id, str(folder))


def is_hub_id(text: str) -> bool:
    """True when ``text`` has the form of a Hugging Face hub id, ``org/name``."""
    return bool(_HUB_ID.fullmatch(text))


def _looked_at(store: Store, path_or_id: str, name: str) -> Model | _Entry:
    """What is registered for it already, else what would be; writes nothing."""
    folder = Path(path_or_id).expanduser()
    if not folder.exists() and is_hub_id(path_or_id):
        entry = _Entry(ModelKind.BASE, path_or_id, path_or_id.rpartition("/")[2])
        return _registered(store, path_or_id, name) or entry
    found = _inspect(folder)
    if known := _registered(store, str(found.folder), name):
        return known
    base = _base_of(store, found) if found.kind is ModelKind.ADAPTER else None
    return _Entry(found.kind, str(found.folder), found.folder.name, base, weights_hash(found.weights))


def _insert(store: Store, entry: _Entry, name: str, *, note: str = "") -> Model:
    """Register the entry and its base, unless another bench did so meanwhile."""
    with store.write():
        if known := _registered(store, entry.path, name):
            return known
        base = _insert(store, entry.base, "") if isinstance(entry.base, _Entry) else entry.base
        chosen = name or _free_name(store.models.taken_names(entry.path, entry.sha256), entry.stem)
        return store.models.add(
            chosen,
            entry.kind,
            entry.path,
            base=base.name if base else "",
            sha256=entry.sha256,
            format="openai" if entry.kind is ModelKind.ENDPOINT else "safetensors",
            note=note,
            key_source=entry.key_source,
        )


def _registered(store: Store, path: str, name: str) -> Model | None:
    known = [model for model in store.models.list() if model.path == path]
    return next((model for model in known if name in {"", model.name}), None)


def _inspect(folder: Path) -> _Found:
    """What is in ``folder``, once it is sure that loading it runs no program of a stranger."""
    if not folder.exists():
        raise NotFoundError(
            f"{folder} is neither a folder nor a hub id", hint="a hub id looks like org/name", where=str(folder)
        )
    if not folder.is_dir():
        raise DataError(f"{folder.name} is a file", hint="give the folder that holds config.json", where=str(folder))
    folder = folder.resolve()
    is_adapter = (folder / "adapter_config.json").is_file()
    if not is_adapter and not (folder / "config.json").is_file():
        hint = "a model folder has config.json or adapter_config.json and *.safetensors"
        raise DataError("there is no model in this folder", hint=hint, where=str(folder))
    _refuse_custom_code(folder)
    pattern = "adapter_model*.safetensors" if is_adapter else "*.safetensors"
    weights = tuple(sorted(folder.glob(pattern)))
    if not weights:
        _refuse_pickles(folder)
        raise DataError("the folder has no .safetensors weights", where=str(folder))
    kind = ModelKind.ADAPTER if is_adapter else ModelKind.BASE
    return _Found(kind, folder, _json(folder / ("adapter_config.json" if is_adapter else "config.json")), weights)


def _refuse_pickles(folder: Path) -> None:
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _PICKLED)
    if pickled:
        raise RefusedError(
            f"the weights are pickled ({pickled[0]}): loading them can run any program",
            hint="get the .safetensors version of this model",
            where=str(folder),
        )


def _refuse_custom_code(folder: Path) -> None:
    for name in _CONFIGS:
        path = folder / name
        if path.is_file() and "auto_map" in _json(path):
            raise RefusedError(
                f"the model brings its own program code ({name} has auto_map)",
                hint="only architectures that transformers knows are loaded",
                where=str(path),
            )


def _base_of(store: Store, adapter: _Found) -> Model | _Entry:
    """The registered base of an adapter, or the one that can be registered with it."""
    wanted = adapter.config.get("base_model_name_or_path")
    if not isinstance(wanted, str) or not wanted:
        raise DataError("adapter_config.json does not name its base model", where=str(adapter.folder))
    folders = [Path(wanted).expanduser(), adapter.folder / wanted]
    places = {wanted, *(str(folder.resolve()) for folder in folders)}
    for model in store.models.list():
        if model.kind is ModelKind.BASE and (model.path in places or model.name == wanted):
            return model
    here = next((folder for folder in folders if folder.is_dir()), None)
    if here is None and not is_hub_id(wanted):
        raise NotFoundError(
            f"the adapter's base {wanted!r} is not here",
            hint="add the base first, under that name or path",
            where=str(adapter.folder),
        )
    if here is not None and _inspect(here).kind is ModelKind.ADAPTER:
        raise RefusedError(f"{here.name} is an adapter: an adapter needs a base with its own weights")
    return _looked_at(store, str(here) if here else wanted, "")


def _free_name(taken: set[str], wanted: str) -> str:
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).strip("-._")[:80] or "model"
    names = (cleaned if number == 1 else f"{cleaned}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def _facts(folder: Path) -> dict[str, object]:
    """What the files say: architecture, size, parameters, dtype, context, chat template; for an adapter its rank."""
    adapter, config = _json(folder / "adapter_config.json"), _json(folder / "config.json")
    weights = sorted(folder.glob("*.safetensors"))
    shapes = [entry for path in weights for _, entry in _tensors(path)]
    facts: dict[str, object] = {
        "present": bool(weights),
        "bytes": sum(path.stat().st_size for path in weights),
        "parameters": sum(prod(entry["shape"]) for entry in shapes),
        "dtype": ", ".join(sorted({entry["dtype"] for entry in shapes})),
        "chat_template": (folder / "chat_template.jinja").is_file()
        or bool(_json(folder / "tokenizer_config.json").get("chat_template")),
    }
    if adapter:
        return facts | {name: adapter.get(name) for name in ("peft_type", "r", "lora_alpha", "target_modules")}
    architecture = (config.get("architectures") or [""])[0]
    return facts | {"architecture": architecture, "context": config.get("max_position_embeddings")}


def shape(folder: Path) -> ModelShape | None:
    """What decides how much memory the model in this folder takes; None when its files do not tell."""
    if not (folder / "config.json").is_file():
        return None
    files = sorted(folder.glob("*.safetensors"))
    sides = {name: entry["shape"] for path in files for name, entry in _tensors(path)}
    return shape_of(_json(folder / "config.json"), sides)


def _tensors(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The tensors' names and entries in a safetensors header: an 8-byte little-endian length, then JSON.

    Source: https://github.com/huggingface/safetensors/blob/main/README.md#format
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LARGEST_HEADER:
            raise DataError("this is not a safetensors file", where=str(path))
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise DataError("this is not a safetensors file", where=str(path)) from None
    return [(name, entry) for name, entry in header.items() if name != "__metadata__"]


def _json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no file."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise DataError(f"{path.name} cannot be read: {error}", where=str(path)) from None
    if not isinstance(found, dict):
        raise DataError(f"{path.name} is not a JSON object", where=str(path))
    return found
