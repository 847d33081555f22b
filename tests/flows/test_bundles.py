"""A run packed into one file, and taken over in another workspace."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import FakeEngine
from finished_run import add_rows, finish, launched, nobody
from workbench.domain.models import ModelKind
from workbench.domain.runs import RunState
from workbench.errors import DataError, NotFoundError, RefusedError
from workbench.flows import bundles, preflight, rerun, run_papers, train
from workbench.flows.bench import Bench
from workbench.jobs.run_directory import RunDirectory, mark_complete, spec_as_dict
from workbench.paths import Workspace


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Bench]:
    """A bench of another workspace, as on another machine."""
    opened = Bench.open(Workspace(tmp_path / "elsewhere"), engine=FakeEngine(), rater="other")
    yield opened
    opened.close()


def packed(bench: Bench, tmp_path: Path, *, checkpoint: bool = True) -> Path:
    ids = add_rows(bench)
    run = launched(bench, name="mine")
    finish(bench, run, adapter=True, scores={ids[0]: (3.0, 0.5)})
    train.sync(bench, start_runner=nobody)
    run = bench.store.runs.get(run.id)
    return bundles.bundle(run, tmp_path / "mine.tar.gz", checkpoint=checkpoint).file


def test_a_bundle_is_taken_over_whole_with_its_model_and_without_scores_of_examples_that_are_others_here(
    bench: Bench, elsewhere: Bench, tmp_path: Path
) -> None:
    file = packed(bench, tmp_path)
    add_rows(elsewhere, 3, said="Quite another")
    run = bundles.take(elsewhere, file)
    train.sync(elsewhere, start_runner=nobody)
    run = elsewhere.store.runs.get(run.id)
    assert (run.name, run.state, run.step, run.adapter) == ("mine", RunState.FINISHED, 3, "mine")
    assert elsewhere.store.models.get("mine").base == "pip"
    here, there = (RunDirectory(Path(r.directory)) for r in (bench.store.runs.get("mine"), run))
    assert there.row_hash() == here.row_hash() and len(there.complete_checkpoints()) == 1
    assert elsewhere.store.scores.of_run(run.id) == []
    assert "mine.tar.gz of" in run_papers.report(run).markdown.read_text().replace("\\", "")


def test_a_bundle_names_nobody_and_says_how_to_go_on(bench: Bench, tmp_path: Path) -> None:
    with tarfile.open(packed(bench, tmp_path, checkpoint=False)) as archive:
        assert {(m.uname, m.gname, m.uid) for m in archive} == {("", "", 0)}
        names = [m.name.partition("/")[2] for m in archive]
        readme = archive.extractfile(f"{archive.getnames()[0].partition('/')[0]}/README.md")
        assert readme is not None
        said = readme.read().decode()
    assert "workbench runs add" in said
    # There is nothing to resume of a run that has finished.
    assert "workbench runs rerun mine" in said and "runs resume" not in said and "rm -rf checkpoints" in said
    assert {"spec.json", "report.html", "adapter/adapter_model.safetensors", "origin.json"} <= set(names)
    assert not [name for name in names if name.startswith("checkpoints/")]


def test_a_second_taking_over_gets_another_name(bench: Bench, elsewhere: Bench, tmp_path: Path) -> None:
    file = packed(bench, tmp_path)
    names = []
    for _ in range(2):
        names.append(bundles.take(elsewhere, file).name)
        train.sync(elsewhere, start_runner=nobody)
    assert names == ["mine", "mine-2"]


def test_a_bundle_whose_base_is_not_here_is_refused_and_leaves_nothing(
    bench: Bench, elsewhere: Bench, tmp_path: Path
) -> None:
    file = packed(bench, tmp_path)
    elsewhere.store.models.remove("pip")
    with pytest.raises(NotFoundError, match="is not here"):
        bundles.take(elsewhere, file)
    assert train.runs(elsewhere) == [] and list(elsewhere.workspace.runs.iterdir()) == []


def test_a_later_stage_is_taken_over_behind_the_run_that_it_went_on_from(
    bench: Bench, elsewhere: Bench, tmp_path: Path
) -> None:
    first = packed(bench, tmp_path)
    parent = bench.store.models.get("mine")
    run = launched(bench, name="later")
    directory = finish(bench, run, adapter=True)
    told = replace(directory.spec(), adapter="mine", adapter_path=parent.path)
    directory.write_json(directory.root / "spec.json", spec_as_dict(told))
    origin = directory.read_json(directory.origin_file)
    directory.write_json(directory.origin_file, origin | {"adapter_sha256": parent.sha256})
    train.sync(bench, start_runner=nobody)
    later = bundles.bundle(bench.store.runs.get("later"), tmp_path / "later.tar.gz").file
    with pytest.raises(NotFoundError, match="mine, which the run starts from") as refused:
        bundles.take(elsewhere, later)
    assert "runs add of the run that made it" in refused.value.hint and parent.sha256[:12] in refused.value.hint
    bundles.take(elsewhere, first, name="theirs")
    train.sync(elsewhere, start_runner=nobody)
    run = bundles.take(elsewhere, later)
    assert train.spec(run).adapter == "theirs"


def test_a_run_at_work_is_not_packed(bench: Bench, tmp_path: Path) -> None:
    add_rows(bench)
    run = launched(bench)
    finish(bench, run, state=RunState.RUNNING)
    with pytest.raises(RefusedError):
        bundles.bundle(run, tmp_path / "a.tar.gz")


def rewritten(file: Path, to: Path, *, name: str = "", data: bytes = b"", link: str = "") -> Path:
    """A copy of the archive with one more or other entry in it."""
    with tarfile.open(file) as old, tarfile.open(to, "w:gz") as new:
        root = old.getnames()[0].partition("/")[0]
        for member in old:
            if member.name != f"{root}/{name}":
                new.addfile(member, old.extractfile(member))
        entry = tarfile.TarInfo(name if name.startswith(("/", "..")) else f"{root}/{name}")
        entry.size = len(data)
        if link:
            entry.type, entry.linkname = tarfile.SYMTYPE, link
        new.addfile(entry, io.BytesIO(data))
    return to


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "../../evil.txt", "data": b"x"},
        {"name": "/tmp/evil.txt", "data": b"x"},
        {"name": "link", "link": "/etc/passwd"},
        {"name": "train.jsonl", "data": b"{}\n"},
        {"name": "more.txt", "data": b"x"},
        {"name": "bundle.json", "data": json.dumps({"files": {}}).encode()},
    ],
    ids=lambda entry: entry["name"],
)
def test_an_archive_that_was_tampered_with_is_refused(
    entry: dict[str, object], bench: Bench, elsewhere: Bench, tmp_path: Path
) -> None:
    bad = rewritten(packed(bench, tmp_path), tmp_path / "bad.tar.gz", **entry)  # type: ignore[arg-type]
    with pytest.raises(DataError):
        bundles.take(elsewhere, bad)
    assert train.runs(elsewhere) == []


def test_what_is_no_archive_is_refused_with_the_reason(elsewhere: Bench, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="no bundle"):
        bundles.take(elsewhere, tmp_path / "a.tar.gz")
    with pytest.raises(NotFoundError):
        bundles.take(elsewhere, tmp_path / "b.tar.gz")


def changed(file: Path, to: Path, files: Mapping[str, bytes]) -> Path:
    """The bundle with other files in it, and a list that says so: what a person could hand over."""
    with tarfile.open(file) as old:
        root = old.getnames()[0].partition("/")[0]
        inside = {m.name: found.read() for m in old if (found := old.extractfile(m))}
    inside |= {f"{root}/{name}": data for name, data in files.items()}
    listed = json.loads(inside[f"{root}/bundle.json"])
    listed["files"] |= {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    inside[f"{root}/bundle.json"] = json.dumps(listed).encode()
    with tarfile.open(to, "w:gz") as new:
        for name, data in inside.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            new.addfile(entry, io.BytesIO(data))
    return to


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_run_that_was_taken_over_starts_nothing_until_a_person_resumes_it(
    state: str, bench: Bench, elsewhere: Bench, tmp_path: Path
) -> None:
    said = {"state": state, "step": 2, "total_steps": 9, "pid": 1, "process_started": 0.0}
    files = {"state.json": json.dumps(said).encode(), "ticket.json": b'{"place": 1.0}'}
    started: list[Path] = []
    run = bundles.take(elsewhere, changed(packed(bench, tmp_path), tmp_path / "odd.tar.gz", files))
    train.sync(elsewhere, start_runner=started.append)
    run = elsewhere.store.runs.get(run.id)
    assert (started, run.state, run.step) == ([], RunState.CANCELLED, 2)
    assert "resume queues it" in run.hint and not (Path(run.directory) / "ticket.json").exists()


def test_a_runner_s_note_in_a_bundle_does_not_queue_the_run(bench: Bench, elsewhere: Bench, tmp_path: Path) -> None:
    files = {"state.json": b'{"state": "stopped", "step": 2}', "runner.json": b'{"interrupted": true}'}
    run = bundles.take(elsewhere, changed(packed(bench, tmp_path), tmp_path / "odd.tar.gz", files))
    train.sync(elsewhere, start_runner=nobody)
    assert elsewhere.store.runs.get(run.id).state is RunState.STOPPED


def test_what_a_bundle_would_execute_is_said(bench: Bench, elsewhere: Bench, tmp_path: Path) -> None:
    plain = packed(bench, tmp_path)
    assert bundles.needs(bundles.take(elsewhere, plain)) == []
    file = changed(plain, tmp_path / "reward.tar.gz", {"reward.py": b"print('hello')"})
    (said,) = bundles.needs(bundles.take(elsewhere, file))
    assert "executes" in said and "reward.py" in said


def test_a_reward_model_is_looked_for_where_it_lies_here(bench: Bench, elsewhere: Bench, tmp_path: Path) -> None:
    file = packed(bench, tmp_path)
    with tarfile.open(file) as archive:
        member = next(m for m in archive if m.name.endswith("/spec.json"))
        spec = json.loads(archive.extractfile(member).read())  # type: ignore[union-attr]
    spec |= {"reward": "judge", "reward_path": "/far/judge", "reward_base_path": "/far/pip"}
    file = changed(file, tmp_path / "judged.tar.gz", {"spec.json": json.dumps(spec).encode()})
    (said,) = bundles.needs(bundles.take(elsewhere, file))
    assert "judge is not here" in said
    place = tmp_path / "judge"
    place.mkdir()
    elsewhere.store.models.add("judge", ModelKind.REWARD, str(place), base="pip")
    run = bundles.take(elsewhere, file)
    told = train.spec(run)
    assert (told.reward_path, told.reward_base_path) == (str(place), elsewhere.store.models.get("pip").path)
    assert bundles.needs(run) == []


def test_a_bundle_of_a_method_that_is_not_known_here_is_refused_and_leaves_nothing(
    bench: Bench, elsewhere: Bench, tmp_path: Path
) -> None:
    file = packed(bench, tmp_path)
    with tarfile.open(file) as archive:
        member = next(m for m in archive if m.name.endswith("/spec.json"))
        spec = json.loads(archive.extractfile(member).read())  # type: ignore[union-attr]
    odd = {"spec.json": json.dumps(spec | {"method": "of-tomorrow"}).encode()}
    with pytest.raises(NotFoundError, match="of-tomorrow"):
        bundles.take(elsewhere, changed(file, tmp_path / "odd.tar.gz", odd))
    assert train.runs(elsewhere) == [] and list(elsewhere.workspace.runs.iterdir()) == []


def test_a_run_of_a_method_that_is_gone_is_still_taken_over_from_its_folder(bench: Bench) -> None:
    add_rows(bench)
    run = launched(bench, name="old")
    directory = finish(bench, run, adapter=True)
    spec = json.loads((directory.root / "spec.json").read_text())
    (directory.root / "spec.json").write_text(json.dumps(spec | {"method": "of-yesterday"}))
    train.sync(bench, start_runner=nobody)
    assert bench.store.models.get(bench.store.runs.get(run.id).adapter).kind is ModelKind.ADAPTER


def test_the_best_weights_so_far_go_with_the_checkpoint_from_which_a_run_goes_on(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    checkpoint = directory.checkpoints / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_bytes(b"weights")
    mark_complete(checkpoint)
    directory.best.write_bytes(b"weights")
    assert directory.best in bundles.run_files(directory, checkpoint=True)
    assert directory.best not in bundles.run_files(directory, checkpoint=False)


def test_rows_from_elsewhere_are_not_counted_as_the_examples_that_have_their_numbers_here(
    bench: Bench, elsewhere: Bench, tmp_path: Path
) -> None:
    file = packed(bench, tmp_path)
    add_rows(elsewhere, 3, said="Quite another")
    run = bundles.take(elsewhere, file)
    again = rerun.plan_again(elsewhere, run, allow=["versions", "base"])
    lengths = preflight.look(elsewhere, again).lengths
    assert lengths is not None and (lengths.longest, lengths.spread) == ((), ())
    assert again.spec.example_ids == RunDirectory(Path(run.directory)).spec().example_ids
