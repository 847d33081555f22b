"""Settings: the order of their sources, what is refused, and writing them back."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench import paths
from workbench.config import load_settings, option, options, set_value
from workbench.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "settings"
    folder.mkdir()
    return folder / "config.toml"


def test_without_a_file_every_setting_has_its_default(file: Path) -> None:
    settings = load_settings(file=file)
    assert {found.key: settings.get(found.key) for found in options()} == {o.key: o.default for o in options()}
    assert settings.sources == {}
    assert settings.source("appearance.theme") == "default"


def test_every_default_lies_within_its_own_bounds() -> None:
    for found in options():
        assert found.check(found.default) == found.default
        assert found.help, found.key


def test_no_two_settings_share_an_environment_variable_or_a_reserved_one() -> None:
    variables = [found.variable for found in options()]
    assert len(set(variables)) == len(variables)
    assert not {paths.WORKSPACE_VARIABLE, "WORKBENCH_CONFIG"} & set(variables)


def test_a_flag_beats_the_environment_which_beats_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('[appearance]\ntheme = "from-file"\nfps = 5\n')
    assert load_settings(file=file).appearance.theme == "from-file"
    monkeypatch.setenv("WORKBENCH_THEME", "from-environment")
    assert load_settings(file=file).appearance.theme == "from-environment"
    settings = load_settings({"appearance.theme": "from-flag", "appearance.mouse": None}, file=file)
    assert settings.appearance.theme == "from-flag"
    assert settings.appearance.fps == 5
    assert settings.source("appearance.theme") == "flag"
    assert settings.source("appearance.fps") == "config"
    assert settings.source("appearance.mouse") == "default"


def test_texts_from_the_environment_become_the_settings_type(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_MOUSE", "off")
    monkeypatch.setenv("WORKBENCH_TEMPERATURE", "1")
    settings = load_settings(file=file)
    assert settings.appearance.mouse is False
    assert settings.chat.temperature == 1.0
    assert isinstance(settings.chat.temperature, float)


def test_the_users_file_is_found_where_the_environment_says(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("[chat]\nmax_tokens = 9\n")
    monkeypatch.setenv("WORKBENCH_CONFIG", str(file))
    assert load_settings().chat.sampling.max_tokens == 9


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ('[appearance]\nthem = "x"\n', "appearance.them", "appearance.theme"),
        ("[apearance]\n", "apearance", "appearance"),
        ("[appearance]\nfps = 900\n", "appearance.fps", "frames"),
        ('[appearance]\nfps = "10"\n', "appearance.fps", "frames"),
        ("[appearance]\nmouse = 1\n", "appearance.mouse", "Shift"),
        ('[appearance]\nunicode = "asci"\n', "appearance.unicode", "ascii"),
        ("[chat]\ntemperature = nan\n", "chat.temperature", "greedy"),
        ('theme = "x"\n', "theme", "appearance"),
        ("[keys]\nchat.send = 3\n", "keys.chat.send", "y,enter"),
    ],
)
def test_a_wrong_line_is_refused_with_file_key_and_advice(file: Path, text: str, key: str, hint: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_settings(file=file)
    assert str(file) in caught.value.where
    assert key in caught.value.where
    assert hint in caught.value.hint


@pytest.mark.parametrize("content", [b"[appearance\n", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_refused_by_name(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_settings(file=file)
    assert caught.value.where == str(file)


def test_a_wrong_environment_variable_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_FPS", "fast")
    with pytest.raises(UsageError) as caught:
        load_settings(file=file)
    assert caught.value.where == "WORKBENCH_FPS"


def test_keys_are_read_quoted_and_dotted(file: Path) -> None:
    file.write_text('[keys]\n"label.accept" = "y,enter"\ntrain.stop = "x"\n')
    assert load_settings(file=file).keys == {"label.accept": "y,enter", "train.stop": "x"}


def test_writing_keeps_comments_order_and_other_settings(file: Path) -> None:
    file.write_text('# mine\n[appearance]\nfps = 5  # slow line\ntheme = "old"\n\n[chat]\nmax_tokens = 9\n')
    file.chmod(0o640)
    set_value("appearance.theme", "new", file=file)
    expected = '# mine\n[appearance]\nfps = 5  # slow line\ntheme = "new"\n\n[chat]\nmax_tokens = 9\n'
    assert file.read_text() == expected
    assert file.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in file.parent.iterdir()] == ["config.toml"]


def test_writing_makes_the_file_and_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "er" / "config.toml"
    set_value("chat.temperature", 0.25, file=file)
    set_value("keys.train.stop", "x", file=file)
    settings = load_settings(file=file)
    assert settings.chat.temperature == 0.25
    assert settings.keys == {"train.stop": "x"}


def test_a_key_written_as_a_dotted_one_is_changed_where_it_stands(file: Path) -> None:
    file.write_text('[keys]\ntrain.stop = "x"\n')
    set_value("keys.train.stop", "y", file=file)
    assert load_settings(file=file).keys == {"train.stop": "y"}
    set_value("keys.train.stop", None, file=file)
    assert load_settings(file=file).keys == {}


def test_taking_a_setting_out_brings_the_default_back(file: Path) -> None:
    set_value("appearance.bell", False, file=file)
    assert load_settings(file=file).appearance.bell is False
    set_value("appearance.bell", None, file=file)
    assert load_settings(file=file).appearance.bell is True
    set_value("appearance.bell", None, file=file)


def test_a_link_to_the_settings_stays_a_link(tmp_path: Path, file: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text("")
    file.symlink_to(real)
    set_value("appearance.fps", 7, file=file)
    assert file.is_symlink()
    assert "fps = 7" in real.read_text()


def test_a_wrong_value_is_never_written(file: Path) -> None:
    with pytest.raises(UsageError):
        set_value("appearance.fps", 1000, file=file)
    with pytest.raises(UsageError):
        set_value("appearance.colour", "red", file=file)
    assert not file.exists()


def test_a_broken_file_is_not_overwritten(file: Path) -> None:
    file.write_text("[appearance\n")
    with pytest.raises(UsageError):
        set_value("appearance.fps", 5, file=file)
    assert file.read_text() == "[appearance\n"


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        set_value("appearance.fps", 5, file=tmp_path / "file" / "config.toml")
    assert str(tmp_path / "file") in caught.value.where


def test_a_text_is_parsed_as_the_settings_pane_sends_it() -> None:
    assert option("appearance.fps").parse(" 12 ") == 12
    assert option("appearance.bell").parse("no") is False
    with pytest.raises(UsageError, match="whole number"):
        option("appearance.fps").parse("1.5")
    with pytest.raises(UsageError, match="outside"):
        option("chat.top_p").parse("0")


def test_a_changed_setting_reads_as_it_would_after_a_restart(file: Path) -> None:
    for key, value in (("appearance.theme", "x"), ("chat.temperature", 0.5), ("keys.train.stop", "y")):
        settings = load_settings(file=file).with_value(key, value)
        set_value(key, value, file=file)
        assert settings == load_settings(file=file)
    for key in ("appearance.theme", "keys.train.stop"):
        settings = load_settings(file=file).with_value(key, None)
        set_value(key, None, file=file)
        assert settings == load_settings(file=file)
    with pytest.raises(UsageError):
        load_settings(file=file).with_value("appearance.fps", 999)
