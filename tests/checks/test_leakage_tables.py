"""Tables of rows that give away what models are measured on, and of rows that only come near it."""

from __future__ import annotations

import random

import pytest

from checking import call, demo, of_set, pair, raw, row, said, talk, thumb, told, user
from workbench.checks import leakage
from workbench.checks._likeness import likeness, shingles
from workbench.domain.chats import Turn
from workbench.domain.checks import ComparedPrompt, HeldOutRow, Surroundings
from workbench.domain.examples import Content, Kind, Split

LONG = (
    "Pour the water over the leaves when it has cooled to eighty degrees, wait for two minutes, then take them out "
    "again and drink it slowly while the garden outside turns from grey to gold in the first light of the morning."
)
QUESTION = "How do I brew green tea at home?"
HELD = demo(LONG, QUESTION)
CHINESE = "把水烧到八十度然后倒在茶叶上等两分钟再把茶叶取出来这样泡出来的绿茶味道最好也不会发苦，早上在院子里慢慢喝。"

LEAKS = {
    "word for word": (HELD, HELD, "error", "is also"),
    "case and spacing": (HELD, demo(LONG.upper(), f" {QUESTION}"), "error", "is also"),
    "without the question mark": (HELD, demo(LONG, QUESTION[:-1]), "error", "is also"),
    "under another scene": (HELD, demo(LONG, QUESTION, system="Be brief."), "error", "is also"),
    "as a judgement": (HELD, thumb(LONG, True, QUESTION), "error", "is also"),
    "as the chosen of a pair": (HELD, pair(LONG, "No.", QUESTION), "error", "is also"),
    "a text": (raw(LONG), raw(f"{LONG}\n"), "error", "is also"),
    "the same question": (HELD, demo("Slowly.", QUESTION), "warning", "asks the same"),
    "a prompt alone": (HELD, Content(Kind.PROMPT, (user(QUESTION),), ()), "warning", "asks the same"),
    "the question in Chinese": (demo("好", "怎么泡绿茶？"), demo("不", "怎么泡绿茶"), "warning", "asks the same"),
    "the question within a dialogue": (
        HELD,
        talk(user("Hello"), said("Hi."), user(QUESTION), said("Slowly."), answer=3),
        "warning",
        "asks the same",
    ),
    "a dialogue that goes on from it": (
        talk(user("Tea"), said("Yes?"), user("Green"), said("So.")),
        talk(user("Tea"), said("Yes?"), user("Green"), said("Oh."), user("Thanks"), said("Bye."), answer=5),
        "warning",
        "asks the same",
    ),
    "a near copy": (HELD, demo(LONG, f"Say: {QUESTION}"), "warning", "the same as a row"),
    "before a last word": (
        HELD,
        talk(user(QUESTION), said(LONG), user("Thanks"), said("Bye.")),
        "warning",
        "the same as",
    ),
    "a near copy of a text": (raw(LONG), raw(LONG.replace("cooled", "fallen")), "warning", "the same as a row"),
    "a near copy in Chinese": (raw(CHINESE), raw(f"请{CHINESE}"), "warning", "the same as a row"),
    "the same call under another id": (
        talk(user(QUESTION), call("brew", {"how": "slowly"}, call_id="a")),
        talk(user(QUESTION), call("brew", {"how": "slowly"}, call_id="b")),
        "error",
        "is also",
    ),
}
CLEAN = {
    "another question": (HELD, demo(LONG[:100], "How do I brew black tea at home?")),
    "one mould": (
        demo("Sorry. Order 31 is noted.", "My kettle from order 31 arrived broken, please send me a new one"),
        demo("Sorry. Order 77 is noted.", "My teapot from order 77 arrived late, please pay me back for it"),
    ),
    "half of it": (HELD, demo(LONG[:90] + " or leave it and have a glass of cold water from the tap.", "And?")),
    "a short greeting within a dialogue": (
        demo("Hi.", "Hello there"),
        talk(user(), said(), user("Hello there"), said(), answer=3),
    ),
    "the answer as a question": (HELD, demo(QUESTION, "What is asked here?")),
    "the same answer to another question": (demo("Yes.", QUESTION), demo("Yes.", "Is tea green?")),
    "the same scene": (demo("a", "b", system=LONG), demo("c", "d", system=LONG)),
    "only words in common": (raw(LONG), raw(" ".join(sorted(LONG.split())))),
    "another language": (HELD, demo("Gieße das Wasser über die Blätter.", "Wie brühe ich grünen Tee?")),
    "another tool's answer": (
        talk(user("a"), call("brew"), told(LONG), said("So.")),
        talk(user("b"), call("brew"), told("No."), said("Oh.")),
    ),
}


def held(content: Content, *, split: Split = Split.TEST, strict: bool = True) -> Surroundings:
    return Surroundings(held_out=[HeldOutRow(row(900, content, dataset="exam", split=split), strict)])


@pytest.mark.parametrize("name", LEAKS)
def test_what_is_measured_on_is_found_among_what_is_trained_on(name: str) -> None:
    measured, trained, severity, words = LEAKS[name]
    (found,) = of_set("leakage", [row(1, trained)], held(measured))
    assert (found.severity.value, found.example_id, found.fixable) == (severity, 1, severity == "error")
    assert words in found.reason and "exam (example 900)" in found.reason


@pytest.mark.parametrize("name", CLEAN)
def test_what_only_comes_near_is_trained_on(name: str) -> None:
    measured, trained = CLEAN[name]
    assert of_set("leakage", [row(1, trained)], held(measured)) == []


@pytest.mark.parametrize("voted", [True, False])
@pytest.mark.parametrize(
    ("trained", "leaks"),
    [
        (demo("Slowly.", QUESTION), True),
        (demo("Slowly.", QUESTION.lower()[:-1]), True),
        (pair("a", "b", QUESTION), True),
        (talk(user("Hi"), said(), user(QUESTION), said(), answer=3), True),
        (demo("Slowly.", "How do I brew black tea at home?"), False),
        (demo(QUESTION, "What is asked?"), False),
        (raw(QUESTION), False),
    ],
)
def test_what_was_compared_on_is_locked_once_somebody_voted(trained: Content, leaks: bool, voted: bool) -> None:
    around = Surroundings(compared=[ComparedPrompt(4, (Turn("system", "Be kind."), user(QUESTION)), voted)])
    found = of_set("leakage", [row(1, trained)], around)
    assert [f.severity.value for f in found] == ([("error" if voted else "warning")] if leaks else [])


@pytest.mark.parametrize("words", [12, 40, 3000])
def test_nothing_that_is_near_is_missed_whatever_the_words(words: int) -> None:
    draw = random.Random(words)
    vocabulary = [f"w{n}" for n in range(words)]
    kept = [" ".join(draw.choices(vocabulary, k=draw.randrange(14, 90))) for _ in range(60)]
    index = leakage._Index()
    for text in kept:
        index.add(text)
    near = 0
    for text in kept:
        changed = text.split(" ")
        for _ in range(draw.randrange(6)):
            changed[draw.randrange(len(changed))] = draw.choice(vocabulary)
        asked = shingles(" ".join(changed))
        alike = [likeness(asked, shingles(one)) if len(shingles(one)) >= 12 else 0.0 for one in kept]
        best = max(alike) if len(asked) >= 12 else 0.0
        found = index.nearest(" ".join(changed))
        assert (found is not None) == (best >= leakage.NEAR)
        assert found is None or found[1] == best
        near += found is not None
    assert 10 < near < 60
