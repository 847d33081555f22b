"""What must be read whole on 80 by 24: the help of settings and knobs."""

from __future__ import annotations

from pilots import app_at, screen_lines, screen_text, until, until_shown
from samples import IMPORTED, demo
from workbench.config import options
from workbench.domain.examples import Status
from workbench.domain.models import ModelKind
from workbench.flows.bench import Bench
from workbench.tui.screens.train_knobs import KnobLine

SIZE = (80, 24)


async def test_the_help_of_every_setting_is_read_whole(bench: Bench) -> None:
    app = app_at(bench, "settings")
    async with app.run_test(size=SIZE) as pilot:
        for option in options():
            await until_shown(pilot, " ".join(option.help.split()))
            await pilot.press("down")


async def test_the_knob_with_the_focus_is_explained_whole_and_others_show_where_they_are_cut(bench: Bench) -> None:
    for number in range(6):
        bench.store.examples.add("answers", demo(number), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    app = app_at(bench, "train")
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "no runs yet")
        await pilot.press("n")
        await until_shown(pilot, "what learns: lora, s")
        row = next(line for line in screen_lines(app) if "what learns: lora" in line)
        assert "…" in row
        knobs = {line.knob.name: line for line in app.screen.query(KnobLine)}
        next(iter(knobs["adapter"].children[1:])).focus()
        whole = knobs["adapter"].knob.help
        words = " ".join(whole.split())
        await until(pilot, lambda: words in screen_text(app).replace("\u2502 \u2502 ", ""), words)


async def test_the_corner_is_said_whole_or_not_at_all(bench: Bench) -> None:
    app = app_at(bench, "chat")
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "Nothing said yet")
        app.set_corner("1 running")
        await pilot.pause()
        assert screen_lines(app)[0].rstrip().endswith("(s)ettings")
        await pilot.resize_terminal(90, 24)
        await until_shown(pilot, "1 running")


async def test_where_the_cursor_is_covers_no_title_of_a_list(bench: Bench) -> None:
    for number in range(9):
        bench.store.models.add(f"model-{number}", ModelKind.BASE, f"/nowhere/{number}")
    app = app_at(bench, "models")
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "model-3")
        head = next(line for line in screen_lines(app) if "kind" in line)
        assert "1/10" in head and head.split()[-1] == "state"
