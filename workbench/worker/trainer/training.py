"""One training run from its directory to its weights: the order of things, and how each end is told.

Load, build, check the rows, measure the start, train (from the last complete checkpoint when there is one), measure the
end, save. Every end leaves a state that says what happened: finished, stopped, or failed with a reason.
"""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import methods
from workbench.domain.placement import BATCH, PASSES, STRATEGY, shared
from workbench.domain.runs import RunSpec, RunState, figure_name
from workbench.errors import BusyError, RefusedError, RunError, WorkbenchError
from workbench.jobs import ranks as launching
from workbench.jobs.run_directory import RunDirectory, step_of
from workbench.jobs.run_facts import note_start
from workbench.worker.trainer import environment, ranks, schedules
from workbench.worker.trainer.failures import FolderGone, Stopped, TrainingFailed, explain, is_out_of_memory
from workbench.worker.trainer.ranks import Word
from workbench.worker.trainer.reporting import Reporter, say
from workbench.worker.trainer.room import (
    AGAIN,
    save_together,
    save_when_there_is_room,
    take_smaller_batch,
    with_adjustments,
)

if TYPE_CHECKING:
    from workbench.worker.trainer.building import Built
    from workbench.worker.trainer.examining import Examiner
    from workbench.worker.trainer.held_out import HeldOut
    from workbench.worker.trainer.keeping import Best
    from workbench.worker.trainer.progress import Progress
    from workbench.worker.trainer.samples import Samples


_SHARES = {"": "shares nothing out", "fsdp": "shares it out by FSDP", "zero": "shares it out by ZeRO"}


def train(root: Path) -> int:
    """Run the run in ``root`` to an end; 0 when it finished or was stopped, 1 when it failed, ``AGAIN`` to start anew.

    Raises ``BusyError`` when another trainer is at work in the same directory. Under a launcher this is one of several
    processes, of which the first holds the lock and speaks.
    """
    from filelock import Timeout  # 20 ms

    directory = RunDirectory(root)
    spec = with_adjustments(directory, directory.spec())
    environment.prepare(spec.base_path)
    try:
        with _lock(directory):
            reporter = Reporter(directory, speaks=ranks.is_first())
            try:
                with reporter.alive():
                    code = _told(reporter, spec)
                    _write_page(directory, code)
                    return code
            finally:
                reporter.close()
    except Timeout:
        raise BusyError(f"another trainer is at work in {root}") from None


def _write_page(directory: RunDirectory, code: int) -> None:
    """The run's page for keeping. One that cannot be written now is written when somebody asks for it."""
    from workbench.jobs.run_page import write_page

    if code != AGAIN and ranks.is_first():
        with suppress(OSError, RunError):
            write_page(directory)


def _lock(directory: RunDirectory) -> AbstractContextManager[object]:
    from filelock import FileLock

    return FileLock(directory.lock_file, timeout=0) if ranks.is_first() else nullcontext()


def _told(reporter: Reporter, spec: RunSpec) -> int:
    try:
        state = _walk(reporter, spec)
        reporter.state(state)
        if state is RunState.FINISHED:
            # Not before: one that is killed while it looks at single rows ends again, with the same weights.
            _forget_best(reporter.directory)
    except Stopped:
        reporter.state(RunState.STOPPED)
    except FolderGone:
        return 1
    except Exception as error:  # noqa: BLE001 - the worker's door: whatever the libraries raise is told plainly
        if not isinstance(error, WorkbenchError):
            traceback.print_exc()
        return _failed(reporter, spec, error)
    return 0


def _forget_best(directory: RunDirectory) -> None:
    from workbench.worker.trainer.keeping import forget

    if ranks.is_first():
        with suppress(OSError):
            forget(directory)


def _failed(reporter: Reporter, spec: RunSpec, error: Exception) -> int:
    no_memory = not isinstance(error, WorkbenchError) and is_out_of_memory(error)
    word = Word(*explain(error, step=reporter.step), out_of_memory=no_memory)
    if not ranks.is_first():
        ranks.leave_word(reporter.directory, word)
        return 1
    if (theirs := ranks.word_of_others(reporter.directory)) is not None:
        word = theirs
    elif ranks.is_torn_off(error):
        hint = "resume goes on from the last complete checkpoint; log.txt in the run's folder has the whole story"
        reporter.state(RunState.LOST, error="another process of this run ended without a word", hint=hint)
        return 1
    if word.out_of_memory and take_smaller_batch(reporter, spec):
        # Of several processes each would have to begin anew: the runner starts them all again.
        reporter.state(RunState.STARTING if ranks.world_size() == 1 else RunState.QUEUED)
        return AGAIN
    # What a full disk left half-written makes room for the state that says so.
    reporter.directory.remove_torn_checkpoints()
    for folder in (reporter.directory.adapter, reporter.directory.model):
        shutil.rmtree(_aside(folder), ignore_errors=True)
    reporter.state(RunState.FAILED, error=word.message, hint=word.hint)
    return 1


def _walk(reporter: Reporter, spec: RunSpec) -> RunState:
    from workbench.worker.trainer.rehearsal import Rehearsal  # torch

    directory = reporter.directory
    reporter.state(RunState.STARTING)
    if ranks.is_first():
        ranks.clear_words(directory)
    if directory.row_hash() != spec.row_hash:
        raise RefusedError("the rows of this run were changed after it was made", hint="make a new run")
    if ranks.is_first():
        note_start(directory, spec)
    if ranks.is_first() and (torn := directory.remove_torn_checkpoints()):
        reporter.note(f"removed unfinished checkpoints: {', '.join(p.name for p in torn)}")
    checkpoints = directory.complete_checkpoints()
    _refuse_other_sharing(checkpoints[-1:])
    _check_stop(reporter)
    spec = _share(reporter, spec)
    built, held_out, samples, progress, best = _build(reporter, spec)
    examiner = _examiner(reporter, built, spec)
    if ranks.agreed(ranks.is_first() and not _has_base_measurement(directory)):
        measure_start = partial(_measure, reporter, held_out, samples, "base", 0)
        if ranks.shares_model_out():
            progress.measure_start = measure_start  # until then it lies in main memory, whole
        else:
            measure_start()
    if examiner is not None:
        # Of several processes the others wait below, where all stop together.
        with suppress(Stopped) if ranks.world_size() > 1 else nullcontext():
            save_when_there_is_room(reporter, examiner.measure_start)
    if checkpoints:
        reporter.note(f"resumed from step {step_of(checkpoints[-1])}")
    _check_stop(reporter)
    built.trainer.saving = partial(save_when_there_is_room if ranks.world_size() == 1 else save_together, reporter)
    built.trainer.add_callback(Rehearsal(built.trainer, reporter))
    try:
        _train(built, checkpoints[-1] if checkpoints else None, best, progress)
    except (Stopped, FolderGone):
        raise
    except Exception:
        progress.flush()
        raise
    state = built.trainer.state
    reporter.progress(state.global_step, state.max_steps)
    if state.global_step < state.max_steps:
        if not best.is_over(state.global_step):
            return RunState.STOPPED
        reporter.note(best.why_over(state.global_step))
    _measure_end(reporter, built, held_out, samples, best)
    weights = _gathered(built)
    if ranks.is_first():
        save_when_there_is_room(reporter, lambda: _save(built, spec, directory, weights))
    reporter.event("saved", step=state.global_step, path="model" if directory.model.is_dir() else "adapter")
    if examiner is not None:
        _examine(reporter, examiner)
    return RunState.FINISHED


def _examiner(reporter: Reporter, built: Built, spec: RunSpec) -> Examiner | None:
    """What looks at single rows, in one process: None in the others, and where none of them has the whole model."""
    from workbench.worker.trainer.examining import Examiner  # torch

    if ranks.shares_model_out():
        reporter.note("single rows and general text are not measured on a model that is shared out")
        return None
    examiner = Examiner(built, spec, reporter.directory, check=lambda: _check_own_stop(reporter))
    examiner.prepare()  # of several processes each waits there for the others
    return examiner if ranks.is_first() else None


def _examine(reporter: Reporter, examiner: Examiner) -> None:
    """Single rows, general text and canaries, now that nothing can be lost any more; a stop ends it early."""
    summaries: list[dict[str, Any]] = []
    try:
        save_when_there_is_room(reporter, lambda: summaries.append(examiner.measure_end()))
    except Stopped:
        reporter.note("stopped before the loss of single rows was measured")
        return
    summary = summaries[-1]
    reporter.event("retention", step=reporter.step, **summary.get("general", {}))
    counts = f"{summary['held_out_rows']} held-out and {summary['train_rows']} training rows"
    reporter.note(f"measured one by one, before and after: {counts}")


def _refuse_other_sharing(last: Sequence[Path]) -> None:
    """The libraries would go on from a checkpoint that was shared out otherwise with the optimiser forgotten."""
    now = ranks.strategy() if ranks.shares_model_out() else ""
    for checkpoint in last:
        launching.refuse_other_number(checkpoint, ranks.world_size())
        if (before := launching.shared_in(checkpoint)[0]) != now:
            said = {"": "holds the model whole", "fsdp": "was shared out by FSDP", "zero": "was shared out by ZeRO"}
            hint = "go on with as many processes as before on the same kind of machine, or make a new run"
            raise RefusedError(f"{checkpoint.name} {said[before]}, and this run {_SHARES[now]}", hint=hint)


def _share(reporter: Reporter, spec: RunSpec) -> RunSpec:
    """What one of several processes does, so that a step of all sees the rows that a step of one alone would."""
    if (processes := ranks.world_size()) == 1:
        return spec
    knobs = shared(methods.get(spec.method), spec.knobs, processes)
    reporter.note(
        f"{processes} processes, each with {knobs[BATCH]} rows in a forward pass and {knobs[PASSES]} passes a step"
    )
    if ranks.strategy() == "ddp" and (wanted := str(knobs.get(STRATEGY, "ddp"))) != "ddp":
        reporter.note(f"without a GPU {wanted} shares nothing out: every process holds the whole model, as with ddp")
    return replace(spec, knobs=knobs)


def _build(reporter: Reporter, spec: RunSpec) -> tuple[Built, HeldOut, Samples, Progress, Best]:
    say(f"loading {spec.base} from {spec.base_path}")
    from workbench.worker.trainer.building import build
    from workbench.worker.trainer.keeping import Best
    from workbench.worker.trainer.measures import MEASURES
    from workbench.worker.trainer.progress import Progress
    from workbench.worker.trainer.samples import Samples

    _silence()
    progress = Progress(
        reporter,
        eval_steps=int(spec.knobs["eval_steps"]),
        measure_held_out=lambda step: _measure_on_the_way(reporter, built, held_out, samples, best, step),
        is_over=lambda step: best.is_over(step),
    )
    # A run that was made before there was such a choice ends as it would have then.
    keeps = bool(spec.knobs.get("load_best_model_at_end", False)) and bool(spec.knobs["eval_steps"])
    # What is shared out is whole in no process, to be kept or put back.
    is_whole = not ranks.shares_model_out()
    if keeps and not is_whole:
        reporter.note("the result is the last step's: of a model that is shared out the best weights are not kept")
    best = Best(
        reporter.directory,
        patience=int(spec.knobs.get("early_stopping_patience", 0)),
        keeps=keeps and is_whole,
        save=partial(_save_alone_or_together, reporter),
    )
    method = methods.get(spec.method)
    built = build(method, spec, reporter.directory, [progress])
    held_out = MEASURES[method.measure](
        built.trainer,
        batch_size=int(spec.knobs["per_device_train_batch_size"]),
        beta=float(spec.knobs.get("beta", 1.0)),
        check=lambda: _check_stop(reporter),
    )
    samples = Samples(built, spec)
    _tell_counts(reporter, built, spec)
    return built, held_out, samples, progress, best


def _save_alone_or_together(reporter: Reporter, save: Callable[[], object]) -> None:
    """Of several processes none waits alone for room on the disk: the others would not hear of a stop meanwhile."""
    if ranks.world_size() == 1:
        save_when_there_is_room(reporter, save)
    else:
        save_together(reporter, save, lambda: None)


def _tell_counts(reporter: Reporter, built: Built, spec: RunSpec) -> None:
    counts = built.counts
    reporter.note(f"training on {counts.kept} rows")
    window = f"max_length = {spec.knobs['max_length']}"
    if counts.truncated:
        reporter.note(f"longer than {window} and cut at the end: {counts.truncated} of the rows")
    if counts.empty:
        reporter.note(f"no answer within {window}, so left out: {counts.empty} of the rows")
    if spec.adapter:
        reporter.note(f"going on from {spec.adapter}: rank, alpha and target modules are those it was made with")


def _train(built: Built, checkpoint: Path | None, best: Best, progress: Progress) -> None:
    if checkpoint is None:
        built.trainer.train()
        return
    from transformers import TrainerState

    from workbench.worker.trainer.progress import NothingLeft

    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    # Killed between its last step and its end: the training loop would make one step more than there are.
    progress.has_all_steps = state.global_step >= state.max_steps or best.is_over(state.global_step)
    with suppress(NothingLeft):
        built.trainer.train(resume_from_checkpoint=str(checkpoint))


def _measure(reporter: Reporter, held_out: HeldOut, samples: Samples, which: str, step: int) -> None:
    _tell(reporter, samples, which, step, held_out.measure(start=which == "base"))


def _tell(reporter: Reporter, samples: Samples, which: str, step: int, scores: Mapping[str, float]) -> None:
    if scores:
        reporter.event("eval", step=step, which=which, **scores)
        said = ", ".join(f"{figure_name(name)} {value:.4g}" for name, value in scores.items())
        say(f"held out, {which}: {said}")
    samples.tell(reporter, which, step)


def _measure_on_the_way(
    reporter: Reporter, built: Built, held_out: HeldOut, samples: Samples, best: Best, step: int
) -> None:
    scores = held_out.measure()
    _tell(reporter, samples, "during", step, scores)
    schedules.measured(built.trainer, scores)
    best.note(step, scores, _model(built))


def _measure_end(reporter: Reporter, built: Built, held_out: HeldOut, samples: Samples, best: Best) -> None:
    """The model as it will be saved: as it is now, or with the weights of a better measurement put back."""
    step = built.trainer.state.global_step
    known = best.scores_at(step)  # of a run that ended early
    scores = held_out.measure() if known is None else known
    if not best.is_better_than(scores):
        _tell(reporter, samples, "tuned", step, scores)
        return
    if known is None:
        _tell(reporter, samples, "during", step, scores)
    kept = best.restore(_model(built))
    reporter.note(f"the weights of step {kept} are kept: they did best on held-out rows (load_best_model_at_end)")
    _measure(reporter, held_out, samples, "tuned", kept)


def _model(built: Built) -> Any:
    return built.trainer.accelerator.unwrap_model(built.trainer.model)


def _has_base_measurement(directory: RunDirectory) -> bool:
    events, _ = directory.events()
    return any(e["event"] == "eval" and e.get("which") == "base" for e in events)


def _check_stop(reporter: Reporter) -> None:
    if ranks.agreed(reporter.stop_requested):
        raise Stopped


def _check_own_stop(reporter: Reporter) -> None:
    """The same, for what one of several processes does alone."""
    if reporter.stop_requested:
        raise Stopped


def _gathered(built: Built) -> dict[str, Any] | None:
    """The weights that are shared out between processes, whole; None where every process has them all."""
    if not ranks.shares_model_out():
        return None
    return built.trainer.accelerator.get_state_dict(built.trainer.model_wrapped)


def _save(built: Built, spec: RunSpec, directory: RunDirectory, weights: dict[str, Any] | None) -> None:
    from workbench.worker.trainer.adapters import adapter_of, save_adapter

    whole = adapter_of(spec).saves_model
    target = directory.model if whole else directory.adapter
    aside = _aside(target)
    for folder in (aside, target):
        shutil.rmtree(folder, ignore_errors=True)
    model = _model(built)
    if whole:
        model.save_pretrained(aside, state_dict=weights)
    else:
        save_adapter(model, aside, start=directory.start_adapter, weights=weights)
    _refuse_nothing(aside)
    built.tokenizer.save_pretrained(aside)
    aside.rename(target)


def _refuse_nothing(folder: Path) -> None:
    """Raise ``TrainingFailed`` for a result without one tensor in it, as an adapter is that no process held whole."""
    from safetensors import safe_open

    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            if opened.keys():
                return
    hint = "the checkpoints are kept; a run of one process saves what it holds itself"
    raise TrainingFailed("training ended, but there were no weights in what was to be saved", hint=hint)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-new")


def _silence() -> None:
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
