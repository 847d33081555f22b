"""The keys of Train: which key calls which action."""

from __future__ import annotations

from textual.binding import Binding

KEYS = [
    Binding("n", "new", "New", id="run.new", tooltip="Set up a new run"),
    Binding("s", "stop_run", "Stop", id="run.stop", tooltip="Stop after this step with a checkpoint; or off the queue"),
    Binding("k", "kill", "Kill", id="run.kill", tooltip="End the run's process at once"),
    Binding("r", "resume", "Resume", id="run.resume", tooltip="Go on from the last complete checkpoint"),
    Binding("R", "rerun", "Rerun", id="run.rerun", tooltip="A new run, set up like this one"),
    Binding("E", "edit", "Edit", id="run.edit", tooltip="Stop it, and set up the same with another learning rate"),
    Binding("enter", "zoom", "Zoom", id="run.zoom", tooltip="The curve in the whole pane, and back"),
    Binding("v", "page", "Pages", id="run.page", tooltip="Next page: samples, group and queue, config, data, log"),
    Binding("l", "log", "Log", id="run.log", tooltip="The log in the whole pane, and back"),
    Binding("f", "figure", "Figure", id="run.figure", tooltip="Plot another figure of the run"),
    Binding("c", "overlay", "Compare", id="run.compare", tooltip="Lay this run's curve over the others, or no longer"),
    Binding("e", "smooth", "Smooth", id="run.smooth", tooltip="Smoother curves, then raw again"),
    Binding("y", "log_scale", "Log y", id="run.logy", tooltip="Logarithmic axis of the values"),
    Binding("plus,equals_sign", "scale(0.5)", "Zoom in", key_display="+-0", id="run.zoom_in", tooltip="Fewer steps"),
    Binding("minus", "scale(2)", "Zoom out", show=False, id="run.zoom_out", tooltip="More steps"),
    Binding("0", "whole", "All steps", show=False, id="run.zoom_all", tooltip="All steps"),
    Binding("left", "pan(-0.5)", "Earlier steps", show=False, id="run.pan_left", tooltip="Earlier steps"),
    Binding("right", "pan(0.5)", "Later steps", show=False, id="run.pan_right", tooltip="Later steps"),
    Binding("less_than_sign", "move(-1)", "Queue", key_display="<>", id="run.earlier", tooltip="Earlier in the queue"),
    Binding("greater_than_sign", "move(1)", "Later", show=False, id="run.later", tooltip="Later in the queue"),
    Binding("u", "gpus", "GPUs", id="run.gpus", tooltip="The GPUs that a waiting run trains on"),
    Binding("p", "recipe", "Recipe", id="run.recipe", tooltip="Queue the stages of a recipe file"),
    Binding("P", "sweep", "Sweep", id="run.sweep", tooltip="Queue this run again with several settings"),
    Binding("A", "arena", "Arena", id="run.arena", tooltip="Compare what the run made with its base, blind"),
    Binding("escape", "back", "Back", show=False, id="run.back", tooltip="Back to the list and the live view"),
]
