"""How the shown chat is asked: its model, system prompt and sampling, changed by dialogs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.domain.chats import Preset
from workbench.flows import chats
from workbench.tui.screens.chat_entries import Setup, sampling_text, setup_fields, setup_from
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, FormDialog, TextDialog

if TYPE_CHECKING:
    from workbench.tui.screens.chat import ChatPane


# No name of a preset begins so: names are stripped.
_SAVE, _FORGET = " +", " -"


def _preset_text(preset: Preset) -> str:
    return f"{sampling_text(preset.sampling)}  {preset.system}"


class ChatSetup:
    """The questions, and what their answers change."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane

    def tune(self) -> None:
        """System prompt and sampling of this chat."""
        if (setup := self._pane.setup) is None:
            return

        def tuned(changed: Setup | None) -> None:
            if changed is not None:
                self._change(changed)

        dialog = FormDialog(
            "System prompt and sampling", setup_fields(setup), lambda values: setup_from(values, setup.model)
        )
        self._pane.app.push_screen(dialog, tuned)

    def presets(self) -> None:
        """Ask as a preset says; or keep how this chat is asked as one, or forget one."""
        pane = self._pane
        if (setup := pane.setup) is None:
            return
        store = pane.bench.store.presets

        def ask(found: list[Preset]) -> None:
            by_name = {preset.name: preset for preset in found}
            choices = [Choice(name, name, _preset_text(one)) for name, one in by_name.items()]
            choices.append(Choice(_SAVE, "save as a preset", _preset_text(Preset("", setup.system, setup.sampling))))
            choices += [Choice(_FORGET + name, f"forget {name}") for name in by_name]
            pane.app.push_screen(ChooseDialog("Presets", choices), lambda value: chosen(value, by_name))

        def chosen(value: str | None, by_name: dict[str, Preset]) -> None:
            if value == _SAVE:
                pane.app.push_screen(TextDialog("Save this preset as", placeholder="a name"), save)
            elif value and value.startswith(_FORGET):
                name = value.removeprefix(_FORGET)
                pane.run_flow(lambda: store.remove(name), lambda _: pane.notice(f"forgot the preset {name}"))
            elif value:
                self._change(Setup(setup.model, by_name[value].system, by_name[value].sampling))
                pane.notice(f"asked as {value} says")

        def save(name: str | None) -> None:
            if name:
                pane.run_flow(
                    lambda: chats.save_preset(pane.bench, name, system=setup.system, sampling=setup.sampling),
                    lambda preset: pane.notice(f"saved the preset {preset.name}"),
                )

        pane.run_flow(store.list, ask)

    def choose_model(self) -> None:
        """Another model for this chat, from now on."""
        pane = self._pane

        def ask(choices: list[Choice]) -> None:
            current = (pane.setup.model if pane.setup else "") or pane.default_model
            pane.app.push_screen(ChooseDialog("Model", choices, current=current), self.use_model)

        store = pane.bench.store
        pane.run_flow(
            lambda: [Choice(m.name, m.name, f"{m.kind.value} {m.base}".strip()) for m in store.models.speakers()], ask
        )

    def use_model(self, name: str | None) -> None:
        """This model, if one is named."""
        if name and (setup := self._pane.setup) is not None:
            self._change(Setup(name, setup.system, setup.sampling))

    def _change(self, setup: Setup) -> None:
        pane = self._pane
        pane.setup = setup
        pane.refresh_headline()
        if (chat := pane.chat) is not None:
            update = pane.bench.store.chats.update
            pane.decide(
                lambda: update(chat.id, system=setup.system, model=setup.model, sampling=setup.sampling),
                lambda _: pane.reload(),
            )
