"""A disk that takes not one byte more while somebody labels, imports or opens: said plainly, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from small_disk import NoSmallDisk, fill, small_disk
from workbench.cli.main import main
from workbench.domain.examples import Status
from workbench.domain.queries import parse_query
from workbench.errors import StoreError
from workbench.flows import curate, exchange
from workbench.flows.bench import Bench
from workbench.paths import Workspace, shipped

TICKETS = shipped("sample_data") / "tickets.jsonl"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace with 300 pending rows on a disk that is full."""
    workspace = Workspace(tmp_path / "workspace")
    try:
        with small_disk(workspace.root, "8m"):
            bench = Bench.open(workspace)
            exchange.import_file(bench, TICKETS, dataset="kill", status=Status.PENDING)
            bench.close()
            fill(workspace.root)
            yield workspace
    except NoSmallDisk:
        pytest.skip("no small disk may be mounted here")


def accepted(bench: Bench) -> int:
    return bench.store.examples.count(parse_query("dataset:kill status:accepted"))


def test_what_was_labelled_before_the_disk_was_full_stays_and_what_comes_after_is_refused_whole(
    full: Workspace,
) -> None:
    bench = Bench.open(full)
    ids = bench.store.examples.ids(parse_query("dataset:kill"))
    done = 0
    with pytest.raises(StoreError, match="the disk is full: this was not done") as told:
        while True:
            (curate.reject if done % 2 else curate.accept)(bench, ids)
            done += 1
    assert "what was saved before is kept" in told.value.hint
    expected = 300 if done % 2 else 0
    assert accepted(bench) == expected
    bench.close()
    (full.root / "ballast").unlink()
    again = Bench.open(full)
    try:
        assert accepted(again) == expected
        curate.accept(again, ids)
        assert accepted(again) == 300
    finally:
        again.close()


def test_an_import_on_a_full_disk_leaves_nothing_and_says_why(
    full: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    import_again = ["-w", str(full.root), "import", str(TICKETS), "--dataset", "two"]
    assert main(import_again) == 1
    said = capsys.readouterr().err
    assert "the disk is full: this was not done" in said and "free some space" in said
    assert main(["-w", str(full.root), "examples", "list", "dataset:two", "--json"]) in {0, 4}
    assert capsys.readouterr().out == ""
    (full.root / "ballast").unlink()
    assert main(import_again) == 0
    assert "imported 300 rows into two" in capsys.readouterr().out
