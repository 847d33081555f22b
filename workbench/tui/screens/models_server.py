"""The form by which Models takes a model on another server. What may be added is the registry's rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from workbench.domain.endpoints import KEYRING, checked_endpoint
from workbench.errors import WorkbenchError
from workbench.flows import registry
from workbench.tui.widgets.dialogs import Field, FormDialog

if TYPE_CHECKING:
    from workbench.domain.models import Model
    from workbench.tui.screens.models import ModelsPane


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands in the form."""

    url: str = ""
    model: str = ""
    key: str = ""
    name: str = ""

    @property
    def in_keyring(self) -> bool:
        """True when the key is in the system's keyring."""
        return self.key == KEYRING

    @property
    def variable(self) -> str:
        """The variable that has the key."""
        return "" if self.in_keyring else self.key.removeprefix("$")


def ask_for_server(pane: ModelsPane, given: Asked, problem: str = "") -> None:
    """Ask where the server is, then register the model; what goes wrong comes back into the form."""
    fields = [
        Field("url", "address", given.url, help="http://localhost:8000/v1"),
        Field("model", "model there", given.model, help="as the server lists it, or a LoRA module of vLLM"),
        Field("key", "key from", given.key, help=f"a variable's name, {KEYRING}, or nothing"),
        Field("name", "name here", given.name, help="empty: taken from the model"),
    ]

    def check(values: Mapping[str, str]) -> Asked:
        asked = Asked(**{name: value.strip() for name, value in values.items()})
        checked_endpoint(asked.url, asked.model, key_env=asked.variable, keyring=asked.in_keyring)
        return asked

    def answered(asked: Asked | None) -> None:
        if asked is None:
            return
        if asked.in_keyring:
            _ask_for_key(pane, asked)
        else:
            _add(pane, asked)

    pane.app.push_screen(FormDialog("A model on another server", fields, check, text=problem), answered)


def _ask_for_key(pane: ModelsPane, asked: Asked) -> None:
    field = Field("key", f"key for {asked.url}", help="empty: the one that is in the keyring", hidden=True)

    def answered(key: str | None) -> None:
        if key is not None:
            _add(pane, asked, key)

    form = FormDialog("A key for the system's keyring", [field], lambda values: values["key"].strip())
    pane.app.push_screen(form, answered)


def _add(pane: ModelsPane, asked: Asked, key: str = "") -> None:
    pane.notice(f"asking {asked.url} …")

    def failed(error: BaseException) -> None:
        if isinstance(error, WorkbenchError):
            ask_for_server(pane, asked, f"✗ {error.message}" + (f"\n{error.hint}" if error.hint else ""))
        else:
            pane.workbench.report(error)

    def added(result: tuple[Model, str]) -> None:
        pane.added(*result)

    add = partial(
        registry.add_endpoint,
        pane.bench,
        asked.url,
        asked.model,
        name=asked.name,
        key_env=asked.variable,
        key=key,
        keyring=asked.in_keyring,
    )
    pane.run_flow(add, added, group="add", failed=failed)
