"""The run form's fields for what is measured beside the task: general text and canary prompts."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from finished_run import add_rows
from pilots import app_at, until, until_shown
from workbench.flows import train as flow
from workbench.flows.bench import Bench
from workbench.tui.screens.train_form import FormValues, load_form


@pytest.fixture
def data(bench: Bench) -> Bench:
    """A bench with rows to train on."""
    add_rows(bench, dataset="answers")
    return bench


async def test_the_form_takes_general_text_and_canaries_and_says_what_they_are_for(data: Bench) -> None:
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        answers: list[object] = []
        form = load_form(data, FormValues("sft", dataset="answers"))
        app.push_screen(form, answers.append)
        await until_shown(pilot, "✓")
        form.query_one("#form-general").focus()
        await until_shown(pilot, "training.general in the settings")
        await pilot.press(*"nowhere")
        await until_shown(pilot, "✗ nowhere is neither a file nor a dataset")
        form.query_one("#form-general", Input).value = "answers"
        form.query_one("#form-canaries", Input).value = "none"
        await until_shown(pilot, "✓", "answers --canaries none")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(answers) == 1)
    (plan,) = answers
    assert isinstance(plan, flow.RunPlan)
    assert plan.spec.general == "answers" and "general.jsonl" in plan.beside and "canaries.jsonl" not in plan.beside
