"""A model put on the Hugging Face hub, when a person says so: never by itself, and never what is not meant for it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.counting import an
from workbench.domain.models import ModelKind
from workbench.errors import DataError, NotFoundError, RefusedError, WorkbenchError
from workbench.flows.registry import is_hub_id

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

    from workbench.flows.bench import Bench

_PATTERNS = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt", "README.md")
_TRUE = {"1", "true", "yes", "on"}


@dataclass(frozen=True, slots=True)
class Published:
    """Where a model is on the hub now, and how many files were offered."""

    url: str
    files: int


def files_to_push(bench: Bench, name: str) -> list[Path]:
    """The files of a model that would be put on the hub; raises ``NotFoundError`` or ``RefusedError``."""
    model = bench.store.models.get(name)
    if model.kind not in {ModelKind.BASE, ModelKind.ADAPTER, ModelKind.REWARD}:
        raise RefusedError(f"{model.name} is {an(model.kind.value)}: it has no files")
    folder = Path(model.path)
    if not folder.is_dir():
        raise NotFoundError(f"{model.name} is not on this disk", where=model.path)
    return sorted({path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()})


def push(bench: Bench, name: str, repo: str, *, private: bool = True) -> Published:
    """Put a model's files into the hub's repository ``repo``, made (private) when it is not there.

    The caller has asked the person. Raises ``WorkbenchError`` when there is no network, no token or no right to write.
    """
    if not is_hub_id(repo):
        raise DataError(f"{repo!r} is no repository of the hub", hint="it looks like name/model")
    files = files_to_push(bench, name)
    if any(os.environ.get(switch, "").lower() in _TRUE for switch in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")):
        raise WorkbenchError("the hub is switched off here", hint="unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE")
    import httpx2  # what the library asks with, and by whose errors it says that there is no network
    from huggingface_hub import HfApi  # 0.3 s
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    folder = Path(bench.store.models.get(name).path)
    try:
        api = HfApi(library_name="workbench")
        url = api.create_repo(repo, private=private, exist_ok=True, repo_type="model")
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=[path.name for path in files],
            commit_message=f"Add {name}",
        )
    except LocalTokenNotFoundError:
        raise WorkbenchError("the hub does not know you", hint="set HF_TOKEN, or: hf auth login") from None
    except HFValidationError as error:
        raise DataError(f"{repo!r} is no repository of the hub: {error}") from None
    except HfHubHTTPError as error:
        raise _refused(error, repo) from None
    except RuntimeError as error:  # the library's own, around what ended an upload
        if isinstance(error.__cause__, HfHubHTTPError):
            raise _refused(error.__cause__, repo) from None
        if not isinstance(error.__cause__, (httpx2.TransportError, OSError)):
            raise
        said = f"the line to the hub broke: {error.__cause__}"
        raise WorkbenchError(said, hint="it shows nothing until all is there: push again", where=repo) from None
    except (httpx2.TransportError, OSError) as error:
        raise WorkbenchError(f"the hub cannot be reached: {error}", hint="is there a network?", where=repo) from None
    return Published(str(url), len(files))


def _refused(error: HfHubHTTPError, repo: str) -> WorkbenchError:
    code, why = error.response.status_code, (error.server_message or "").strip()
    owner = repo.partition("/")[0]
    hints = {401: "set HF_TOKEN, or: hf auth login", 403: f"a token with the right to write for {owner}, in HF_TOKEN"}
    said = f"the hub refused ({code}){': ' + why if why else ''}"
    return WorkbenchError(said, hint=hints.get(code, "try again later"), where=repo)
