"""From a method's description and a run's knobs to TRL's config and trainer objects."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import methods
from workbench.domain.examples import Kind
from workbench.domain.methods import PLATEAU, SCHEDULE, Measure, Method, Task
from workbench.domain.runs import RunSpec
from workbench.errors import RefusedError
from workbench.jobs.run_directory import RunDirectory, mark_complete
from workbench.worker.trainer import adapters, loading, pairs, ranks, rewards, rows, schedules, teachers
from workbench.worker.trainer.adapters import import_class
from workbench.worker.trainer.failures import TrainingFailed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback

CHECKPOINTS_KEPT = 2
_DRAWN = {Measure.REWARDS, Measure.TEACHER}
"""Methods whose answers are drawn from the model itself, so that their rows are prompts."""


@dataclass(frozen=True, slots=True)
class Built:
    """A trainer that is ready to run, and what belongs to it."""

    trainer: Trainer
    tokenizer: PreTrainedTokenizerBase
    counts: rows.RowCounts


def config_values(method: Method, spec: RunSpec, directory: RunDirectory) -> dict[str, Any]:
    """The keyword arguments of the method's config class for this run."""
    knobs = adapters.settings(spec)
    values: dict[str, Any] = {k.name: knobs[k.name] for k in method.knobs if k.target == "trainer"}
    if ranks.world_size() > 1:
        # Looking for weights that a step did not use costs a walk through every step's graph.
        values["ddp_find_unused_parameters"] = False
    values |= methods.argument_values(method, str(knobs["arguments"]))
    values |= method.fixed
    if weight := float(spec.knobs.get("sft_weight", 0.0)):
        values |= {"loss_type": [values["loss_type"], "sft"], "loss_weights": [1.0, weight]}
    on_cpu = loading.device_name() == "cpu"
    return values | {
        "output_dir": str(directory.checkpoints),
        "bf16": loading.precision(spec).bf16,
        "use_cpu": on_cpu,
        "dataloader_pin_memory": not on_cpu,
        "eval_strategy": "no",
        "save_strategy": "steps",
        # One more than needed: the older checkpoint is deleted before the newer one is marked complete.
        "save_total_limit": CHECKPOINTS_KEPT,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_nan_inf_filter": False,
        "push_to_hub": False,
    }


def build_config(method: Method, spec: RunSpec, directory: RunDirectory, train: Any, **changed: Any) -> Any:
    """The method's config object for these rows, with the values of ``changed`` in the place of the run's own."""
    values = _with_masks(config_values(method, spec, directory), train) | changed
    if (schedule := values[SCHEDULE]) != PLATEAU:
        return import_class(method.config)(**values)
    config = import_class(method.config)(**(values | {SCHEDULE: "constant"}))
    schedules.follow(config, schedule)
    return config


def watched(trainer_class: type) -> type:
    """The trainer class with three things added: a loss that is no number ends the run, a checkpoint gets its marker
    (its ``saving`` may try again), and every epoch is dealt the same way again after a resume.
    """
    import torch
    from transformers.trainer_pt_utils import LengthGroupedSampler, get_length_grouped_indices
    from trl.trainer.utils import RepeatSampler

    class EpochSeeded(LengthGroupedSampler):
        """transformers' own draws from the global generator, whose state at the epoch's start no checkpoint holds."""

        def __init__(self, lengths: list[int], batch_size: int, seed: Callable[[], int]) -> None:
            super().__init__(batch_size, lengths=lengths)
            self._seed = seed

        def __iter__(self) -> Iterator[int]:
            generator = torch.Generator().manual_seed(self._seed())
            return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))

    class EpochRepeated(RepeatSampler):
        """TRL's own draws every epoch from one generator, which a resumed run has at its beginning again."""

        epoch_seed: Callable[[], int]

        def __iter__(self) -> Iterator[int]:
            if self.shuffle:
                self.generator.manual_seed(self.epoch_seed())
            return super().__iter__()

    class Watched(trainer_class):
        saving: Callable[[Callable[[], object], Callable[[], object]], None] = staticmethod(_saved_and_marked)

        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            loss = super().training_step(*args, **kwargs)
            if not math.isfinite(value := float(loss)):
                raise TrainingFailed(
                    f"the loss became {value} at step {self.state.global_step + 1}",
                    hint="lower learning_rate (a third of it), or max_grad_norm; bf16 or fp32 instead of a 4-bit base",
                )
            return loss

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            dataset = self.train_dataset if train_dataset is None else train_dataset
            if self.args.train_sampling_strategy != "group_by_length":
                sampler = super()._get_train_sampler(train_dataset)
                if isinstance(sampler, RepeatSampler):
                    sampler.__class__, sampler.epoch_seed = EpochRepeated, self._epoch_seed
                return sampler
            lengths = [len(ids) for ids in dataset["input_ids"]]
            batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
            return EpochSeeded(lengths, batch, self._epoch_seed)

        def create_scheduler(self, num_training_steps: int, *args: Any, **kwargs: Any) -> Any:
            given, name = self.args.lr_scheduler_kwargs, str(self.args.lr_scheduler_type.value)
            self.args.lr_scheduler_kwargs = schedules.details(name, given, steps=num_training_steps)
            return super().create_scheduler(num_training_steps, *args, **kwargs)

        def _epoch_seed(self) -> int:
            return int(self.args.seed) + int(self.state.epoch or 0)

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            save = super()._save_checkpoint
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            self.saving(lambda: save(model, trial), lambda: mark_complete(folder))

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """None: a checkpoint is no publication."""

    if pairs.makes_own_tokens(trainer_class):
        Watched.tokenize_row = lambda self, feature, model=None: {}  # the tokens are there already
    Watched.__name__ = Watched.__qualname__ = trainer_class.__name__
    return Watched


def _saved_and_marked(save: Callable[[], object], mark: Callable[[], object]) -> None:
    save()
    mark()


def build(method: Method, spec: RunSpec, directory: RunDirectory, callbacks: list[TrainerCallback]) -> Built:
    """The trainer of a run with model, rows and config in place; refuses rows that would teach the wrong thing."""
    adapters.refuse(spec)
    tokenizer = loading.load_tokenizer(spec)
    train = rows.read_rows(directory.train_file)
    if train is None:
        raise RefusedError("there are no rows to train on")
    config = build_config(method, spec, directory, train)
    options: dict[str, Any] = {
        "args": config,
        "train_dataset": train,
        "eval_dataset": rows.read_rows(directory.eval_file),
        "processing_class": tokenizer,
        "callbacks": callbacks,
    }
    trainer_class = import_class(method.trainer)
    if pairs.makes_own_tokens(trainer_class):
        for name in ("train_dataset", "eval_dataset"):
            options[name] = pairs.with_tokens(options[name], tokenizer, max_length=int(spec.knobs["max_length"]))
    if method.measure is Measure.TEACHER:
        options["teacher_model"] = teachers.load(spec, tokenizer)
    if method.measure is Measure.REWARDS:
        options |= rewards.options(spec, directory)
    if method.measure in _DRAWN:
        for name in ("train_dataset", "eval_dataset"):
            options[name] = rows.short_prompts(options[name], tokenizer, room=_room_for_prompts(spec))
        if not len(options["train_dataset"]):
            raise RefusedError("no prompt leaves room for an answer", hint="raise max_length with --set")
        _refuse_too_few(len(options["train_dataset"]), config)
    if adapters.adapter_of(spec).saves_model and "ref_model" in inspect.signature(trainer_class).parameters:
        options["ref_model"] = loading.load_model(spec, trainable=False)
    if (adapter := adapters.peft_config(spec)) is not None:
        options["peft_config"] = adapter
    model = loading.load_model(spec)
    before = loading.learning(model) if spec.adapter_path else []
    trainer = watched(trainer_class)(model=model, **options)
    trainer.remove_callback(_printer())
    loading.learn_in_fp32(trainer.model, spec, before)
    if ranks.is_first() and not adapters.adapter_of(spec).saves_model:
        adapters.keep_start(trainer.model, directory.start_adapter)
    return Built(trainer, tokenizer, _checked(method, trainer, tokenizer, spec, len(train)))


def _printer() -> type:
    from transformers import PrinterCallback

    return PrinterCallback


def _with_masks(values: dict[str, Any], train: Any) -> dict[str, Any]:
    # A completion of several turns: only the assistant's own may be learnt, for which the template's markers are used.
    if values.get("completion_only_loss") and rows.has_other_speakers(train):
        return values | {"assistant_only_loss": True}
    return values


def _refuse_too_few(prompts: int, config: Any) -> None:
    """TRL draws for whole steps only, and would make none."""
    batch, passes = config.per_device_train_batch_size, config.gradient_accumulation_steps
    answers = getattr(config, "generation_batch_size", None) or batch * passes * ranks.world_size()
    needed = answers // getattr(config, "num_generations", 1)
    if prompts < needed:
        raise RefusedError(
            f"a step draws answers to {needed} prompts, and there are {prompts}",
            hint="add prompts, or --set per_device_train_batch_size and gradient_accumulation_steps smaller",
        )


def _room_for_prompts(spec: RunSpec) -> int:
    return int(spec.knobs["max_length"]) - int(spec.knobs["max_completion_length"])


def _checked(
    method: Method, trainer: Trainer, tokenizer: PreTrainedTokenizerBase, spec: RunSpec, before: int
) -> rows.RowCounts:
    max_length = int(spec.knobs["max_length"])
    if method.measure in _DRAWN:
        return rows.check_prompts(trainer, tokenizer, before)
    if method.kinds[0] is Kind.TEXT:
        return rows.check_texts(trainer.train_dataset, tokenizer, before)
    stops = rows.stop_ids(trainer.model, tokenizer)
    counts = rows.count_rows(before, trainer.train_dataset, stops, max_length=max_length)
    if not counts.kept:
        raise RefusedError(
            f"no row has an answer within max_length = {max_length} tokens", hint="raise max_length with --set"
        )
    rows.check_rows(
        trainer.train_dataset, tokenizer, stops, max_length=max_length, answers=method.task is not Task.SCORE
    )
    return counts
