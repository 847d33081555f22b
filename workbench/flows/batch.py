"""Running a set of prompts through one or two models in the background, so that quitting costs nothing.

Owns what is asked, in which order, and how a batch goes on where it stopped: a prompt that has its answer is never
asked again. With one model the answers stand in a chat, each prompt a branch of its own; with two they are pairs for
the Arena (``flows.rounds``).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.batches import Batch, BatchPrompt, BatchState, check_models, system_of
from workbench.domain.chats import Message, Role, Sampling, StopReason, Turn, title_from
from workbench.domain.rounds import PromptRow
from workbench.errors import BusyError, EngineError, NotFoundError, RefusedError, StoreError, WorkbenchError
from workbench.flows import chat, rounds
from workbench.flows.registry import place
from workbench.jobs.processes import child_environment, module_argv, spawn_detached

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

AT_ONCE = 4
"""So many prompts are asked at the same time: the engine answers them as one batch."""
FAILURES_IN_A_ROW = 3
LOOK_SECONDS = 0.5

OnProgress = Callable[[Batch], None]


def begin(
    bench: Bench,
    models: Sequence[str],
    prompts: Sequence[tuple[Turn, ...]],
    *,
    source: str,
    sampling: Sampling,
    seed: int | None = None,
) -> Batch:
    """Write down what is to be asked; ``run`` or ``launch`` asks it. Each prompt has a seed, counted up from ``seed``.

    Raises ``UsageError`` for more than two models, ``NotFoundError`` for an unknown one, ``RefusedError`` for none.
    """
    names = [place(bench, name).name for name in models]
    check_models(names)
    if not prompts:
        raise RefusedError("there is no prompt to be asked")
    chosen = secrets.randbelow(2**31) if seed is None else seed
    return bench.store.batches.begin(source, names, prompts, sampling=replace(sampling, seed=chosen))


def launch(bench: Bench, batch_id: int, *, retry: bool = False) -> Batch:
    """Ask in a process of its own, which goes on when this one is quit. Raises ``BusyError`` when one does already."""
    batch = bench.store.batches.get(batch_id)
    if batch.is_running:
        raise BusyError(f"batch {batch_id} is being asked already")
    bench.store.batches.reopen(batch_id)
    words = ["--quiet", "--workspace", str(bench.workspace.root), "batch", "resume", str(batch_id), "--unless-stopped"]
    if retry:
        words.append("--retry")
    try:
        spawn_detached(module_argv("workbench", *words), bench.workspace.batch_log, child_environment())
    except OSError as error:
        raise StoreError(f"the batch could not be started: {error}") from error
    return bench.store.batches.get(batch_id)


def stop(bench: Bench, batch_id: int) -> Batch:
    """Leave off after the answers that are on their way are cut; what is answered stays."""
    bench.store.batches.stop(batch_id)
    return bench.store.batches.get(batch_id)


def run(
    bench: Bench,
    batch_id: int,
    *,
    cancelled: threading.Event | None = None,
    on_progress: OnProgress | None = None,
    retry: bool = False,
    unless_stopped: bool = False,
) -> Batch:
    """Ask what has no answer yet, here and now; gives the batch as it is afterwards.

    Prompts that failed are passed over, with ``retry`` asked again. Three failures in a row end it: the first is
    raised, and the batch waits to be gone on with. Raises ``BusyError`` while another process works on it. With
    ``unless_stopped`` nothing is asked of a batch that was stopped before this process came to it.
    """
    cancelled = cancelled or threading.Event()
    batch = bench.store.batches.claim(batch_id, unless_stopped=unless_stopped)
    if unless_stopped and batch.state is BatchState.STOPPED:
        return batch
    if retry:
        bench.store.batches.retry(batch_id)
        if batch.round_id is not None:
            bench.store.rounds.retry(batch.round_id)
    tell = on_progress or (lambda _: None)
    state, error = BatchState.OPEN, ""
    try:
        with _watched(bench, batch_id, cancelled):
            ask = _ask_pairs if len(batch.models) > 1 else _ask_one
            ask(bench, batch, cancelled, lambda: tell(bench.store.batches.get(batch_id)))
        is_stopped = bench.store.batches.get(batch_id).state is BatchState.STOPPED
        state = BatchState.STOPPED if is_stopped else BatchState.OPEN if cancelled.is_set() else BatchState.DONE
    except EngineError as failure:
        error = failure.message
        raise EngineError(error, hint=f"workbench batch resume {batch_id} --retry goes on") from failure
    except WorkbenchError as failure:
        error = failure.message
        raise
    finally:
        bench.store.batches.release(batch_id, state=state, error=error)
    return bench.store.batches.get(batch_id)


@contextmanager
def _watched(bench: Bench, batch_id: int, cancelled: threading.Event) -> Iterator[None]:
    """``cancelled`` is set once somebody has stopped the batch, also from another process."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            if bench.store.batches.get(batch_id).state is BatchState.STOPPED:
                cancelled.set()
                return

    watcher = threading.Thread(target=look, name="batch-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


# Two models: a round


def _ask_pairs(bench: Bench, batch: Batch, cancelled: threading.Event, tell: Callable[[], None]) -> None:
    store = bench.store
    if batch.round_id is None:
        rows = [PromptRow(turns) for turns in store.batches.prompts(batch.id)]
        assert batch.sampling.seed is not None
        with store.write():
            round_ = rounds.begin(bench, batch.models, rows, sampling=batch.sampling, seed=batch.sampling.seed)
            store.batches.joined(batch.id, round_.id)
    else:
        taken = store.rounds.take(batch.round_id)
        if taken is None:
            raise BusyError("its round goes on in another process: see the Arena")
        round_ = taken
    for _ in rounds.run(bench, round_, on_progress=lambda *_: tell(), cancelled=cancelled):
        pass


# One model: chats


def _ask_one(bench: Bench, batch: Batch, cancelled: threading.Event, tell: Callable[[], None]) -> None:
    waiting = iter(bench.store.batches.waiting(batch.id))
    failures: list[EngineError] = []
    in_a_row = 0
    running: set[Future[EngineError | None]] = set()
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="batch") as pool:
        try:
            while True:
                while len(running) < AT_ONCE and not cancelled.is_set() and in_a_row < FAILURES_IN_A_ROW:
                    if (prompt := next(waiting, None)) is None:
                        break
                    running.add(pool.submit(_answer, bench, batch, prompt, cancelled))
                if not running:
                    break
                over, running = wait(running, return_when=FIRST_COMPLETED)
                for future in over:
                    failure = future.result()
                    in_a_row = in_a_row + 1 if failure else 0
                    failures += [failure] if failure else []
                tell()
        except BaseException:  # leaving the pool waits for the answers on their way
            cancelled.set()
            raise
    if in_a_row >= FAILURES_IN_A_ROW:
        raise failures[-in_a_row]


def _answer(bench: Bench, batch: Batch, prompt: BatchPrompt, cancelled: threading.Event) -> EngineError | None:
    """Ask one prompt unless it has its answer; gives back the failure, if it is one."""
    if cancelled.is_set():
        return None
    batches, seed = bench.store.batches, batch.sampling.seed
    own = replace(batch.sampling, seed=((seed or 0) + prompt.number) % 2**31)
    ended: Message | None = None
    try:
        question = _question(bench, batch, prompt)
        if _is_answered(bench, question):
            batches.finish(batch.id, prompt.number)
            return None
        for event in chat.answer(
            bench,
            question.chat_id,
            parent_id=question.id,
            cancelled=cancelled,
            model=batch.models[0],
            sampling=own,
        ):
            if isinstance(event, chat.AnswerEnded):
                ended = event.message
    except EngineError as error:
        batches.finish(batch.id, prompt.number, failed=True)
        return error
    if ended is not None and _is_whole(ended):
        batches.finish(batch.id, prompt.number)
    return None


def _is_answered(bench: Bench, question: Message) -> bool:
    return any(_is_whole(one) for one in bench.store.chats.answers_to(question.id))


def _is_whole(message: Message) -> bool:
    made = message.generation
    return made is not None and made.stop_reason in {StopReason.STOP, StopReason.LENGTH}


def _question(bench: Bench, batch: Batch, prompt: BatchPrompt) -> Message:
    """The prompt in a chat of the batch with its system prompt; put there, if it is not there yet or was deleted."""
    store = bench.store
    if prompt.question_id is not None:
        with suppress(NotFoundError):
            asked = store.chats.message(prompt.question_id)
            store.chats.get(asked.chat_id)
            return asked
    with store.write():
        chat_id = _chat(bench, batch, system_of(prompt.turns))
        parent: int | None = None
        said: Message | None = None
        for turn in prompt.turns:
            if turn.role in {Role.USER.value, Role.ASSISTANT.value}:
                said = store.chats.add_message(chat_id, parent_id=parent, role=Role(turn.role), content=turn.shown)
                parent = said.id
        if said is None or said.role is not Role.USER:
            raise EngineError(f"prompt {prompt.number + 1} does not end with a question")
        store.batches.asked(batch.id, prompt.number, said.id)
        return said


def _chat(bench: Bench, batch: Batch, system: str) -> int:
    """The batch's chat with this system prompt. In the transaction of the caller, so that there is one only."""
    store = bench.store
    for chat_id in store.batches.chats(batch.id):
        with suppress(NotFoundError):  # it was deleted
            if store.chats.get(chat_id).system == system:
                return chat_id
    title = title_from(f"batch {batch.id}: {Path(batch.source).name}", 60)
    sampling = replace(batch.sampling, seed=None)  # its own is for the prompts; what is said later has a fresh one
    return store.chats.create(title=title, system=system, model=batch.models[0], sampling=sampling).id
