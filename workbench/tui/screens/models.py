"""Models: what is registered, where each came from, and the engine that holds them.

Owns the keys and the asking. Adding reads configuration files and hashes weights, so it runs in a thread; what may
not be added is the registry's rule, and its reason is shown as it says it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from workbench.domain.models import Model, ModelKind
from workbench.domain.serving import EngineStatus
from workbench.errors import UsageError, WorkbenchError
from workbench.flows import registry
from workbench.tui import model_view
from workbench.tui.messages import EngineReported, ModelChosen, ModelsChanged, News
from workbench.tui.model_view import Lineage, Shelf
from workbench.tui.safety import safe_cell
from workbench.tui.screens.models_papers import ModelPapers
from workbench.tui.screens.models_server import Asked as AskedServer
from workbench.tui.screens.models_server import ask_for_server
from workbench.tui.widgets.dialogs import ConfirmDialog, Field, FormDialog
from workbench.tui.widgets.listing import HomeListing, Listing

TICK_S = 2.0
Asked = tuple[str, str]
"""A path or hub id, and a name ("" to let one be chosen)."""


class ModelsPane(ModelPapers):
    """The registry's list, one model whole, and the engine."""

    title = "Models"
    letter = "m"
    BINDINGS = [
        Binding("c", "chat", "Chat", id="model.chat", tooltip="Chat with this model"),
        Binding("A", "arena", "Arena", id="model.arena", tooltip="Compare this model blind"),
        Binding("plus", "add", "Add", id="model.add", tooltip="Register a model folder, an adapter or a hub id"),
        Binding("E", "add_endpoint", "Server", id="model.add_endpoint", tooltip="Register a model on another server"),
        Binding("D", "remove", "Remove", id="model.remove", tooltip="Forget this model; its files stay"),
        Binding("e", "start_engine", "Engine", id="model.start", tooltip="Start the engine, again if it died"),
        Binding("U", "unload", "Unload", id="model.unload", tooltip="Take the model out of the engine's memory"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shelf: Shelf | None = None
        self._shown = False
        self._looking = False
        self._trouble = ""

    def compose(self) -> ComposeResult:
        """List, detail, engine."""
        with Horizontal(id="models-body"):
            yield HomeListing(model_view.COLUMNS, empty="no model yet: + adds one", id="models-list")
            with Vertical(id="models-right"):
                with VerticalScroll(id="models-detail-box", can_focus=False):
                    yield Static(id="models-detail", markup=False)
                yield Static(id="models-engine", markup=False)

    def on_mount(self) -> None:
        """The engine may change by itself."""
        self.set_interval(TICK_S, self._tick)

    def first_focus(self) -> Widget:
        """The list."""
        return self.query_one("#models-list", Listing)

    def when_shown(self) -> None:
        """Read everything again."""
        self._shown = True
        self.workbench.call_when_open(self.look_now)

    def when_hidden(self) -> None:
        """No more looking."""
        self._shown = False

    def heard(self, news: News) -> None:
        """A run made a model, or the engine said something."""
        if self._shown and isinstance(news, ModelsChanged):
            self.workbench.call_when_open(self.look_now)
        if isinstance(news, EngineReported):
            self._show_engine(news.status)

    def text_to_copy(self) -> str:
        """The model's path."""
        model = self.selected_model()
        return model.path if model else ""

    def _tick(self) -> None:
        if self._shown:
            self.workbench.call_when_open(self.look_now)

    # --- looking -----------------------------------------------------------------------------------------------

    def look_now(self, name: str = "") -> None:
        """Read the registry and the engine's state; the cursor goes to ``name`` if given."""
        if self._looking and not name:
            return
        self._looking = True
        work = partial(model_view.look, self.bench)
        self.run_flow(work, partial(self._found, name), group="models", failed=self._not_found)

    def _found(self, name: str, shelf: Shelf) -> None:
        self._looking, self._trouble, self._shelf = False, "", shelf
        rows = [model_view.model_row(model, shelf.facts[model.id], shelf.engine) for model in shelf.models]
        self.query_one(Listing).show(rows, key=name)
        self._show_engine(shelf.engine)
        self._look_at_one()

    def _not_found(self, error: BaseException) -> None:
        self._looking = False
        if str(error) != self._trouble:
            self._trouble = str(error)
            self.workbench.report(error)

    @on(Listing.Moved)
    def _look_at_one(self) -> None:
        if (model := self.selected_model()) is not None:
            work = partial(model_view.lineage, self.bench, model)
            self.run_flow(work, partial(self._show_one, model), group="detail", exclusive=True)

    def _show_one(self, model: Model, origin: Lineage) -> None:
        facts = self._shelf.facts.get(model.id, {}) if self._shelf else {}
        self.query_one("#models-detail", Static).update(model_view.detail(model, facts, origin))
        self.query_one("#models-detail-box").border_title = safe_cell(model.name, 40)

    def _show_engine(self, status: EngineStatus) -> None:
        self.query_one("#models-engine", Static).update(model_view.engine_text(status))

    def selected_model(self) -> Model | None:
        """The model under the cursor."""
        name = self.query_one(Listing).key
        return next((model for model in self._shelf.models if model.name == name), None) if self._shelf else None

    # --- keys --------------------------------------------------------------------------------------------------

    @on(Listing.Chosen)
    async def action_chat(self) -> None:
        """To Chat, with this model."""
        if (model := self.selected_model()) is not None:
            self.tell(ModelChosen(model.name))
            await self.workbench.go("chat")

    async def action_arena(self) -> None:
        """To the Arena: an adapter against its base, a base against its newest adapter."""
        if (model := self.selected_model()) is None or self._shelf is None:
            return
        adapters = [one.name for one in self._shelf.models if one.base == model.name]
        pair = (model.base, model.name) if model.kind is ModelKind.ADAPTER else (model.name, *adapters[-1:])
        from workbench.tui.screens.arena import ArenaPane

        await self.workbench.go("arena")
        if isinstance(pane := self.workbench.pane("arena"), ArenaPane):
            pane.offer(*pair)

    def action_add(self) -> None:
        """Ask for a path or a hub id."""
        self.workbench.call_when_open(partial(self._ask_for_model, ("", ""), ""))

    def _ask_for_model(self, given: Asked, problem: str) -> None:
        fields = [
            Field("path", "path or hub id", given[0], help="a folder with *.safetensors, or org/name"),
            Field("name", "name", given[1], help="empty: taken from the folder"),
        ]

        def check(values: object) -> Asked:
            assert isinstance(values, dict)
            if not values["path"].strip():
                raise UsageError("a path or a hub id is needed")
            return values["path"].strip(), values["name"].strip()

        def asked(answer: Asked | None) -> None:
            if answer is not None:
                self._add(answer)

        self.app.push_screen(FormDialog("Add a model", fields, check, text=problem), asked)

    def _add(self, asked: Asked) -> None:
        path, name = asked
        self.notice(f"reading {path} …")

        def failed(error: BaseException) -> None:
            if isinstance(error, WorkbenchError):
                self._ask_for_model(asked, f"✗ {error.message}" + (f"\n{error.hint}" if error.hint else ""))
                self.notice("the model was not added", "warning")
            else:
                self.workbench.report(error)

        self.run_flow(partial(registry.add_model, self.bench, path, name=name), self.added, group="add", failed=failed)

    def action_add_endpoint(self) -> None:
        """Ask for a server."""
        self.workbench.call_when_open(partial(ask_for_server, self, AskedServer()))

    def added(self, model: Model, warning: str = "") -> None:
        """A model is registered: show it."""
        self.notice(f"added {model.kind.value} {model.name}" + (f": {warning}" if warning else ""))
        self.tell(ModelsChanged())
        self.look_now(model.name)

    def action_remove(self) -> None:
        """Forget the model, after its name was typed."""
        if (model := self.selected_model()) is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_flow(partial(registry.remove_model, self.bench, model.name), self._removed, group="remove")

        stays = "nothing changes on its server" if model.endpoint else "so do its files"
        text = f"Chats and votes that name it stay, and {stays}:\n{model.path}"
        self.app.push_screen(ConfirmDialog(f"Forget {model.name}?", text=text, typed=model.name), answered)

    def _removed(self, model: Model) -> None:
        stays = "nothing changed on its server" if model.endpoint else "its files were left where they are"
        self.notice(f"{model.name} is forgotten; {stays}")
        self.tell(ModelsChanged())
        self.look_now()

    def action_start_engine(self) -> None:
        """Start it, also when it died; says how it goes."""

        def start() -> EngineStatus:
            self.bench.engine.ensure(self._hear_engine)
            return self.bench.engine.status()

        self.notice("starting the engine …")
        self.workbench.call_when_open(partial(self._ask_engine, start))

    def _hear_engine(self, status: EngineStatus) -> None:
        self.app.post_message(EngineReported(status))

    def action_unload(self) -> None:
        """Give the memory back; the next question loads again."""

        def unload() -> EngineStatus:
            self.bench.engine.unload()
            return self.bench.engine.status()

        self.workbench.call_when_open(partial(self._ask_engine, unload))

    def _ask_engine(self, ask: Callable[[], EngineStatus]) -> None:
        self.run_flow(ask, self._engine_done, group="engine")

    def _engine_done(self, status: EngineStatus) -> None:
        self.notice(f"engine: {model_view.STATES[status.state]}")
        self.tell(EngineReported(status))
        self.look_now()
