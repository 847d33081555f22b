"""Which keys are meant, and which are what is left of a paste. The clock is a number that the test moves."""

from __future__ import annotations

from workbench.tui.paste_guard import BURST_KEYS, BURST_S, PASTE_GUARD_S, PasteGuard


class Moment:
    """A clock that stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        """Now."""
        return self.now


def test_keys_are_meant_until_something_is_pasted() -> None:
    clock = Moment()
    guard = PasteGuard(clock)
    assert not guard.is_on()
    guard.pasted()
    assert guard.is_on()
    clock.now += 1.01 * PASTE_GUARD_S
    assert not guard.is_on()


def test_each_key_of_a_long_paste_prolongs_the_guard() -> None:
    clock = Moment()
    guard = PasteGuard(clock)
    guard.pasted()
    for _ in range(5):
        clock.now += 0.9 * PASTE_GUARD_S
        assert guard.is_on()


def test_keys_faster_than_a_person_turn_the_guard_on() -> None:
    clock = Moment()
    guard = PasteGuard(clock)
    assert [guard.is_burst() for _ in range(BURST_KEYS)] == [False] * (BURST_KEYS - 1) + [True]
    assert guard.is_on()


def test_keys_at_the_pace_of_a_person_are_no_burst() -> None:
    clock = Moment()
    guard = PasteGuard(clock)
    for _ in range(3 * BURST_KEYS):
        clock.now += 1.01 * BURST_S / (BURST_KEYS - 1)
        assert not guard.is_burst()
