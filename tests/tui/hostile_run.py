"""Run by ``test_hostile.py`` on a pseudo-terminal: shows hostile text through every widget, and says what it saw.

Standard output is a file: one JSON document with the widget classes that were on the screen, what acted, and failures.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from hostile import ALL, ONE, SHORT
from textual.app import App
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from fakes import FakeEngine
from workbench.domain.chats import ChatTree, Generation, Hit, Role, Sampling, StopReason, Turn
from workbench.domain.comparisons import Candidate, RaterKind, Verdict, VoteDetails
from workbench.domain.decisions import Action
from workbench.domain.examples import Source, SourceKind, Status, judgement, preference
from workbench.domain.models import ModelKind
from workbench.domain.rubrics import Criterion
from workbench.domain.runs import RunSpec, RunState, RunStatus
from workbench.errors import DataError
from workbench.flows.bench import Bench
from workbench.paths import workspace
from workbench.tui.app import WorkbenchApp
from workbench.tui.panes import PANES
from workbench.tui.running_import import ImportAsked, RunningImport
from workbench.tui.screens.arena_rubric import RubricDialog
from workbench.tui.screens.chat_dialogs import CorrectionDialog, FindDialog, RankDialog, TreeDialog
from workbench.tui.screens.export_form import ExportDialog
from workbench.tui.screens.import_form import ImportDialog
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, ConfirmDialog, Dialog, Field, FormDialog, TextDialog
from workbench.tui.widgets.drafted import DraftedDialog
from workbench.tui.widgets.editor import Editor
from workbench.tui.widgets.forms import Line, LineForm
from workbench.tui.widgets.help import HelpDialog, JumpDialog
from workbench.tui.widgets.reading import ReadingDialog
from workbench.tui.word_diff import inline

Scene = Callable[[WorkbenchApp], Awaitable[None]]
RATER = ONE.encode("utf-8", "replace").decode()  # a login name or a setting is valid text, at least
QUIET = 4  # turns of the event loop in which a screen settles
GENERATION = Generation("pip", Sampling(seed=1), 9, 5, 50, StopReason.STOP)


def hostile_bench() -> Bench:
    """A workspace in which every text that a person, a model or a file can give is hostile."""
    engine = FakeEngine()
    engine.default_answer = ONE
    bench = Bench.open(workspace(), engine=engine, rater=RATER)
    store = bench.store
    for title in SHORT:
        store.chats.create(title=title, system=ONE, model="pip", sampling=Sampling())
    chat = store.chats.create(title=ONE, system=ONE, model="pip", sampling=Sampling())
    parent: int | None = None
    for text in ALL:
        parent = store.chats.add_message(chat.id, parent_id=parent, role=Role.USER, content=text).id
        for again in (text, text + " again"):
            message = store.chats.add_message(
                chat.id, parent_id=parent, role=Role.ASSISTANT, content=again, generation=replace(GENERATION, model=ONE)
            )
        parent = message.id
    for text in ALL:
        source = Source(SourceKind.IMPORT, file=ONE, line=1, models=(ONE,))
        prompt = (Turn("system", ONE), Turn("user", text))
        for content in (preference(prompt, text + "+", text), judgement(prompt, text, False)):
            store.examples.add(
                "data", content, source=source, status=Status.PENDING, rater=RATER, tags=(ONE,), note=ONE
            )
    first = store.examples.list(_all())[0]
    store.examples.change([first.id], Action.NOTE, rater=RATER, note=ONE)
    for text in SHORT:
        store.comparisons.add(
            (Turn("user", text),),
            Candidate("pip", text + "a", GENERATION),
            Candidate("pip", ONE, GENERATION),
            draw_seed=1,
        )
    _hostile_votes(bench)
    store.models.add("other", ModelKind.BASE, "/no/such/folder", note=RATER)
    _hostile_runs(bench)
    return bench


def _all() -> object:
    from workbench.domain.queries import parse_query

    return parse_query("")


def _hostile_votes(bench: Bench) -> None:
    """Votes on models with hostile names, on prompts with hostile tags, one of them by a judge."""
    store = bench.store.comparisons
    for number, name in enumerate(SHORT):
        name = name.encode("utf-8", "replace").decode()
        sides = (Candidate(name, ONE, GENERATION), Candidate(RATER, ONE + "b", GENERATION))
        made = store.add((Turn("user", ONE),), *sides, draw_seed=number, tags=(name,))
        told = VoteDetails(RATER, rubric={RATER: (1, 5)})
        store.rate(made.id, Verdict.LEFT, rater=RATER, details=told)
        store.rate(made.id, Verdict.LEFT, rater=f"judge:{name}", kind=RaterKind.JUDGE, details=told)


def _hostile_runs(bench: Bench) -> None:
    """Runs whose errors, hints and logs are hostile; their names are checked by the domain."""
    spec = RunSpec("run", "sft", "pip", "pip", "data", {}, 1, 0, "0" * 64, command=ONE)
    directory = bench.workspace.runs / "1-run"
    directory.mkdir(parents=True)
    text = "\n".join(SHORT).encode("utf-8", "replace")
    (directory / "log.txt").write_bytes(text)
    run = bench.store.runs.add(spec, directory)
    bench.store.runs.update(run.id, RunStatus(RunState.FAILED, step=3, total_steps=9, error=ONE, hint=ONE))


class Report:
    """What was seen: classes on the screen, links and actions in what was drawn."""

    def __init__(self) -> None:
        self.classes: set[str] = set()
        self.scenes: list[str] = []
        self.acted: list[str] = []

    async def look(self, app: App[int], scene: str) -> None:
        """Let the screen settle, then write down what is on it and what in it would act."""
        for _ in range(QUIET):
            await asyncio.sleep(0.02)
        self.scenes.append(scene)
        for screen in app.screen_stack:
            for widget in (screen, *screen.walk_children(Widget)):
                for kind in type(widget).__mro__:
                    if kind.__module__.startswith("workbench.tui"):
                        self.classes.add(f"{kind.__module__}.{kind.__name__}")
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                meta = segment.style.meta if segment.style else {}
                if "@click" in meta or (segment.style and segment.style.link):
                    self.acted.append(f"{scene}: {segment.text[:40]!r}")


async def press(app: App[int], *keys: str) -> None:
    """Keys as if they had been typed."""
    for key in keys:
        app.simulate_key(key)
        await asyncio.sleep(0.02)


async def frame(app: WorkbenchApp) -> None:
    """Everything that is said outside a pane."""
    for severity in ("information", "warning", "error"):
        app.say(ONE, severity)
    app.set_fact("hostile", ONE)
    app.set_corner(ONE)
    app.report(DataError(ONE, hint=ONE, where=ONE))
    app.report(ValueError(ONE))


async def chat(app: WorkbenchApp) -> None:
    """The hostile chat, every message of it, and a hostile answer on its way."""
    await app.go("chat")
    await press(app, "escape", *["k"] * 12, "G")
    app.query_one("Composer").focus()
    app.query_one("Composer", Editor).load_text(ONE)
    await press(app, "enter", "enter")
    await asyncio.sleep(0.5)


async def curate(app: WorkbenchApp) -> None:
    """Every hostile example, with a hostile filter."""
    await app.go("curate")
    await asyncio.sleep(0.3)
    await press(app, *["j"] * 40, "m", "w", "u", "slash")


def dialog(make: Callable[[WorkbenchApp], Screen[object]]) -> Scene:
    """A scene that shows one dialog."""

    async def show(app: WorkbenchApp) -> None:
        screen = make(app)
        await app.push_screen(screen)
        if isinstance(screen, Dialog):
            screen.show_problem(ONE)

    return show


def other_pane(name: str, *keys: str) -> Scene:
    """A pane as it opens on the hostile workspace, and a few of its keys."""

    async def show(app: WorkbenchApp) -> None:
        await app.go(name)
        await asyncio.sleep(0.6)
        await press(app, "j", "k", *keys)
        await asyncio.sleep(0.5 if keys else 0)

    return show


def hostile_file(app: WorkbenchApp) -> Path:
    """A table whose columns, texts and bad lines are hostile."""
    file = Path(app.bench.workspace.root) / "rows.jsonl"
    rows = [{"frage": text, ONE[:60]: text, "text": text} for text in SHORT]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + json.dumps({ONE[:60]: ONE}) + "\n{ broken\n")
    return file


async def import_rows(app: WorkbenchApp) -> None:
    """The preview of a hostile file, and its columns to pick."""
    dialog = ImportDialog(app.bench, "", lambda asked: RunningImport(app.bench, asked))
    await app.push_screen(dialog)
    dialog.query_one("#import-path", Input).value = str(hostile_file(app))
    await asyncio.sleep(0.8)


async def import_report(app: WorkbenchApp) -> None:
    """The report of an import of it."""
    asked = ImportAsked(str(hostile_file(app)), format="table", skip_bad=True)
    running = RunningImport(app.bench, asked)
    await asyncio.to_thread(running.work)
    await app.push_screen(ImportDialog(app.bench, "", lambda asked: running, running=running))


CHOICES = [Choice(text, text, text) for text in SHORT]
LINES = [
    Line("a", ONE, RATER, ONE, more=(Line("b", ONE, RATER, ONE),)),
    Line("c", ONE, SHORT[0], ONE, choices=SHORT),
    Line("d", ONE, ONE, is_path=True),
]
FIELDS = [Field("a", ONE, ONE, ONE), Field("b", ONE, ONE, lines=True)]


def the_chat(app: WorkbenchApp) -> ChatTree:
    """The chat with every hostile text."""
    return max(map(app.bench.store.chats.tree, range(1, len(SHORT) + 2)), key=lambda tree: len(tree.messages))


SCENES: dict[str, Scene] = {
    "frame": frame,
    "chat": chat,
    "curate": curate,
    **{entry.name: other_pane(entry.name) for entry in PANES if entry.name not in {"chat", "curate"}},
    "curate history": other_pane("curate", "escape", "escape", "h"),
    "curate difference": other_pane("curate", "escape", "escape", "d"),
    "prefer reasons": other_pane("prefer", "d", "r"),
    "train form": other_pane("train", "n"),
    "arena form": other_pane("arena", "n"),
    "arena marks": dialog(lambda app: RubricDialog([Criterion(ONE, ONE, ONE, ONE)], {})),
    "results vote": other_pane("results", "d", "enter"),
    "results fix": other_pane("results", "f", "enter"),
    "confirm": dialog(lambda app: ConfirmDialog(ONE, text=ONE)),
    "confirm typed": dialog(lambda app: ConfirmDialog(ONE, text=ONE, typed=ONE)),
    "one line": dialog(lambda app: TextDialog(ONE, value=ONE, text=ONE, placeholder=ONE)),
    "lines": dialog(lambda app: TextDialog(ONE, value="\n".join(SHORT), lines=True)),
    "drafted": dialog(lambda app: DraftedDialog(ONE, value=ONE, draft="\n".join(SHORT), check=str, keep=str)),
    "corrected": dialog(lambda app: CorrectionDialog(ONE, value=ONE, draft="", keep=str, notes=True)),
    "ranked": dialog(lambda app: RankDialog([*the_chat(app).messages.values()][1:9], prompt=ONE)),
    "tree": dialog(lambda app: TreeDialog(the_chat(app), cursor=None)),
    "found": dialog(lambda app: FindDialog(lambda _: [Hit(the_chat(app).chat, 1, Role.USER, text) for text in SHORT])),
    "choose": dialog(lambda app: ChooseDialog(ONE, CHOICES, current=SHORT[0], text=ONE)),
    "form": dialog(lambda app: FormDialog(ONE, FIELDS, dict, text=ONE)),
    "reading": dialog(lambda app: ReadingDialog(ONE, inline(ONE, ONE + " too"), text=ONE)),
    "help": dialog(lambda app: HelpDialog([(ONE, ONE, ONE), *((text, text, text) for text in SHORT)])),
    "jump": dialog(lambda app: JumpDialog()),
    "dataset": other_pane("curate", "escape", "escape", "S"),
    "dataset form": dialog(lambda app: LineForm(ONE, LINES, lambda values: dict(values), text=ONE)),
    "import": dialog(lambda app: ImportDialog(app.bench, ONE, lambda asked: RunningImport(app.bench, asked))),
    "import rows": import_rows,
    "import report": import_report,
    "export": dialog(lambda app: ExportDialog(app.bench, ONE, ONE, Path(SHORT[6]))),
}


class Gallery(WorkbenchApp):
    """The app, which walks through all scenes by itself and then leaves."""

    def __init__(self, report: Report) -> None:
        super().__init__(hostile_bench)
        self.seen = report

    def on_ready(self) -> None:
        self.call_when_open(lambda: self.run_worker(self.walk(), exit_on_error=True))

    async def walk(self) -> None:
        """All scenes, one after another."""
        for name, scene in SCENES.items():
            await scene(self)
            await self.seen.look(self, name)
            while len(self.screen_stack) > 1:
                self.pop_screen()
        self.action_command_palette()
        await press(self, *"theme")
        await self.seen.look(self, "palette")
        self.exit(return_code=0)


def main() -> None:
    """Walk, then write the report to the file named on the command line."""
    report = Report()
    app = Gallery(report)
    app.run()
    seen = {"code": app.return_code, "classes": sorted(report.classes), "scenes": report.scenes, "acted": report.acted}
    Path(sys.argv[1]).write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main()
