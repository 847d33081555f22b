"""The shipped themes: complete, readable, and reported rather than fatal when a file is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.color import Color
from textual.theme import Theme
from textual.widgets import Checkbox, Footer, Input, Static, TextArea, Tree

from workbench.errors import DataError
from workbench.paths import shipped
from workbench.tui.themes import DEFAULT_THEME, load_themes, read_theme

THEMES = sorted(shipped("themes").glob("*.toml"))
GROUNDS = ("background", "surface", "panel")
TEXTS = ("foreground", "text-muted", "primary", "accent", "warning", "error", "success")
COLOURED_TEXTS = ("text-primary", "text-accent", "text-warning", "text-error", "text-success", "text-secondary")
CURSORS = ("block-cursor", "block-cursor-blurred")


def luminance(colour: Color) -> float:
    """Relative luminance as WCAG 2.2 defines it."""

    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(colour.r) + 0.7152 * linear(colour.g) + 0.0722 * linear(colour.b)


def contrast(text: Color, ground: Color) -> float:
    """The WCAG contrast ratio of a text colour, blended onto its ground."""
    seen = ground.blend(text, text.a, alpha=1.0)
    lighter, darker = sorted((luminance(seen), luminance(ground)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_black_on_white_has_the_greatest_contrast() -> None:
    assert contrast(Color.parse("#000000"), Color.parse("#ffffff")) == pytest.approx(21)
    assert contrast(Color.parse("#777777"), Color.parse("#ffffff")) == pytest.approx(4.48, abs=0.01)


def test_the_promised_themes_are_shipped() -> None:
    names = {read_theme(path).name for path in THEMES}
    assert {DEFAULT_THEME, "workbench-light", "workbench-high-contrast", "workbench-16"} <= names


@pytest.mark.parametrize("path", THEMES, ids=lambda path: path.stem)
def test_a_theme_is_named_after_its_file(path: Path) -> None:
    assert read_theme(path).name == path.stem


def coloured(path: Path) -> Theme:
    theme = read_theme(path)
    if theme.ansi:
        pytest.skip("the terminal's own colours have no ratio that could be computed")
    return theme


@pytest.mark.parametrize("path", THEMES, ids=lambda path: path.stem)
def test_every_text_can_be_read_on_every_ground(path: Path) -> None:
    theme = coloured(path)
    least = 7.0 if "high-contrast" in theme.name else 4.5
    colours = theme.to_color_system().generate()
    for ground in GROUNDS:
        for text in (*TEXTS, *COLOURED_TEXTS):
            ratio = contrast(Color.parse(colours[text]), Color.parse(colours[ground]))
            assert ratio >= least, f"{text} on {ground}: {ratio:.2f}"


@pytest.mark.parametrize("path", THEMES, ids=lambda path: path.stem)
def test_the_cursor_row_can_be_read(path: Path) -> None:
    theme = coloured(path)
    least = 7.0 if "high-contrast" in theme.name else 4.5
    colours = theme.to_color_system().generate()
    for cursor in CURSORS:
        ground = Color.parse(colours[f"{cursor}-background"])
        assert contrast(Color.parse(colours[f"{cursor}-foreground"]), ground) >= least, cursor


def test_the_sixteen_colour_theme_names_no_other_colour() -> None:
    theme = read_theme(shipped("themes") / "workbench-16.toml")
    fields = ("primary", "secondary", "accent", "warning", "error", "success", "foreground", "background", "surface")
    values = [getattr(theme, field) for field in fields] + list(theme.variables.values())
    assert all(value.startswith("ansi_") for value in values)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("primary = ", "cannot be read"),
        ('primary = "#fff"\nprimry = "#000"\n', "unknown key 'primry'"),
        ('primary = "bluish"\n', "primary must be a colour"),
        ('primary = "#fff"\ndark = "yes"\n', "dark must be true or false"),
        ('primary = "#fff"\ntext_alpha = 7\n', "text_alpha must be a number"),
        ('primary = "#fff"\nname = "My Theme"\n', "name must be"),
        ('primary = "#fff"\n[variables]\nborder = 3\n', "variables must be"),
        ('primary = "#fff"\n[variables]\nborder = "bluish"\n', "variables.border must be a colour"),
        ('primary = "#fff"\n[variables]\ntext-muted = "auto 3 %"\n', "variables.text-muted must be a colour"),
        ("dark = true\n", "'primary' is missing"),
    ],
)
def test_a_wrong_theme_says_which_key_is_wrong(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_theme(path)
    assert reason in caught.value.message


def test_variables_may_be_colours_with_a_share_and_words_where_words_belong(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'primary = "#fff"\n[variables]\ntext-muted = "auto 50%"\nblock-cursor-text-style = "none"\nmy-own = "x"\n'
    )
    assert read_theme(path).variables["my-own"] == "x"


@pytest.mark.parametrize("path", THEMES, ids=lambda path: path.stem)
async def test_every_stock_widget_can_be_styled_by_a_theme(path: Path) -> None:
    class Styled(App[None]):
        def compose(self) -> ComposeResult:
            yield from (Tree("tree"), Checkbox("box"), Input(), TextArea(), Static("text"), Footer())

    app = Styled()
    app.register_theme(read_theme(path))
    async with app.run_test() as pilot:
        app.theme = path.stem
        await pilot.pause()
        assert app.current_theme.name == path.stem


def test_a_broken_file_leaves_the_other_themes(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("primary = 3\n")
    (tmp_path / "mine.toml").write_text('primary = "#123456"\n')
    themes, problems = load_themes([tmp_path, tmp_path / "missing"])
    assert [theme.name for theme in themes] == ["mine"]
    assert [problem.path.name for problem in problems] == ["broken.toml"]
    assert "primary must be a colour" in str(problems[0])


def test_a_users_theme_replaces_a_shipped_one_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "workbench-dark.toml").write_text('primary = "#123456"\n')
    themes, _ = load_themes([shipped("themes"), tmp_path])
    assert {theme.name: theme.primary for theme in themes}[DEFAULT_THEME] == "#123456"
