"""The keys of a verdict on two answers, the same in every screen that asks for one."""

from __future__ import annotations

from textual.binding import Binding


def verdict_bindings(action: str, *, skip: str) -> list[Binding]:
    """Left, right, tie, both bad and skip, each calling ``action`` with its word; ``skip`` says what skipping means."""
    return [
        Binding(
            "left,h", f"{action}('left')", "Left", key_display="←", id="pref.left", tooltip="The left one is better"
        ),
        Binding(
            "right,l",
            f"{action}('right')",
            "Right",
            key_display="→",
            id="pref.right",
            tooltip="The right one is better",
        ),
        Binding("equals_sign,t", f"{action}('tie')", "Tie", id="pref.tie", tooltip="They are equally good"),
        Binding("0", f"{action}('both-bad')", "Bad", id="pref.both_bad", tooltip="Both are bad"),
        Binding("space", f"{action}('skip')", "Skip", id="pref.skip", tooltip=skip),
    ]


def strength_bindings(*, show: bool) -> list[Binding]:
    """Stronger and weaker, each calling ``strength`` with a step; ``show`` puts both into the line of keys as one."""
    return [
        Binding(
            "plus,right_square_bracket",
            "strength(1)",
            "Str",
            key_display="+-" if show else None,
            show=show,
            id="pref.strength_up",
            tooltip="The winner is better by more",
        ),
        Binding(
            "minus,left_square_bracket",
            "strength(-1)",
            "Weaker",
            show=False,
            id="pref.strength_down",
            tooltip="The winner is better by less",
        ),
    ]
