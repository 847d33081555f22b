"""What training here costs against TRL alone: speed with the same settings, speed as it comes, launch, and events.

For speed two processes, the product's trainer and a bare TRL script, make their steps in turns, so that both see the
same machine; only a process's own turns are counted. Writes ``tests/bench/results/training.md``. Run by hand, on an
idle machine: ``python tests/bench/bench_train.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny_llama import make_run
from workbench.jobs.processes import child_environment
from workbench.jobs.run_directory import STOP, RunDirectory
from workbench.paths import shipped

RESULTS = Path(__file__).parent / "results" / "training.md"
BASE = shipped("sample_data") / "model"
WARM_UP = 5
OURS, BARE, DEFAULTS, ALONE = "ours", "bare", "defaults", "alone"


@dataclass(frozen=True, slots=True)
class Turns:
    """What one side did after its warm-up: steps, the seconds of its own turns, and tokens that are no padding."""

    steps: int
    seconds: float
    tokens: float
    events_seconds: float = 0.0

    @property
    def speed(self) -> float:
        """Useful tokens a second."""
        return self.tokens / self.seconds


# --- one side, in a process of its own ---------------------------------------------------------------------------


class Baton:
    """Lets this process make a step when the other has made one, and counts its own turns."""

    def __init__(self, take: int, give: int, steps: int) -> None:
        self._take, self._give, self._steps = take, give, steps
        self._made = 0
        self._began = 0.0
        self.seconds = 0.0
        self.tokens_before = 0.0

    def callback(self, tokens: Callable[[], float]) -> Any:
        """A trainer's callback; ``tokens`` tells how many it has trained on."""
        from transformers import TrainerCallback

        baton = self

        class Turn(TrainerCallback):
            def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
                baton.next(tokens)

            def on_train_end(self, *args: Any, **kwargs: Any) -> None:
                baton.end()

        return Turn()

    def next(self, tokens: Callable[[], float]) -> None:
        """The last step is over with everything that belongs to it; wait for the turn of the next."""
        self._stop_clock()
        if self._made:
            os.write(self._give, b".")
        os.read(self._take, 1)
        self._made += 1
        if self._made == WARM_UP + 1:
            self.tokens_before = tokens()
        self._began = time.perf_counter()

    def end(self) -> None:
        """No more turns: the other goes on alone."""
        self._stop_clock()
        os.write(self._give, b"." * (self._steps + 1))

    @property
    def counted(self) -> int:
        """Steps whose time counts."""
        return max(0, self._made - WARM_UP)

    def _stop_clock(self) -> None:
        if self._made > WARM_UP:
            self.seconds += time.perf_counter() - self._began


def side(which: str, root: Path, take: int, give: int, steps: int, answer: Path) -> None:
    """Train one side to its end and write what its turns took."""
    baton = Baton(take, give, steps)
    trainers: list[Any] = []

    def tokens() -> float:
        return float(trainers[0]._total_train_tokens)

    events = Spent(lambda: baton.counted > 0)
    if which in {OURS, ALONE}:
        _train_ours(root, baton, trainers, tokens, events)
    else:
        _train_bare(root, baton, trainers, tokens, as_it_comes=which == DEFAULTS)
    told = Turns(baton.counted, baton.seconds, tokens() - baton.tokens_before, events.seconds)
    answer.write_text(json.dumps([told.steps, told.seconds, told.tokens, told.events_seconds]))


class Spent:
    """The seconds that wrapped functions took the training thread, and those of a processor that they took others.

    Counted from the moment on that ``counts`` says so.
    """

    def __init__(self, counts: Callable[[], bool] = lambda: True) -> None:
        self.seconds = 0.0
        self._counts = counts
        self._within = threading.local()

    def on(self, owner: Any, name: str) -> None:
        """Count the time of this method from now on."""
        inner = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._within, "one", False):  # an event of a counted callback is in it already
                return inner(*args, **kwargs)
            self._within.one = True
            is_training = threading.current_thread() is threading.main_thread()
            clock = time.perf_counter if is_training else time.thread_time
            started = clock()
            try:
                return inner(*args, **kwargs)
            finally:
                self._within.one = False
                self.seconds += (clock() - started) * self._counts()

        setattr(owner, name, counted)


def _train_ours(root: Path, baton: Baton, trainers: list[Any], tokens: Callable[[], float], events: Spent) -> None:
    from workbench.worker.trainer import building, training
    from workbench.worker.trainer.progress import Progress
    from workbench.worker.trainer.reporting import DeviceFigures

    build = building.build

    def built(*args: Any, **kwargs: Any) -> Any:
        made = build(*args, **kwargs)
        trainers.append(made.trainer)
        made.trainer.add_callback(baton.callback(tokens))
        for name in ("on_step_begin", "on_step_end", "on_log"):
            events.on(Progress, name)
        events.on(RunDirectory, "beat")
        events.on(DeviceFigures, "read")
        return made

    building.build = built  # type: ignore[assignment]
    training._examiner = lambda *_: None  # what comes after the last step is not measured
    assert training.train(root) == 0


def _train_bare(
    root: Path, baton: Baton, trainers: list[Any], tokens: Callable[[], float], *, as_it_comes: bool
) -> None:
    """The script that a person would write: the same rows, model and adapter, and TRL's own loop."""
    from workbench.worker.trainer import environment

    directory = RunDirectory(root)
    spec = directory.spec()
    environment.prepare(spec.base_path)
    from datasets import load_dataset
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    from workbench import methods
    from workbench.worker.trainer import adapters, building

    given = {
        "output_dir": str(root / "bare"),
        "max_steps": spec.knobs["max_steps"],
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    if not as_it_comes:
        ours = building.config_values(methods.get("sft"), spec, directory)
        given = {k: v for k, v in ours.items() if k not in given} | given
    set_seed(spec.seed)
    trainer = SFTTrainer(
        model=str(BASE),
        args=SFTConfig(**given),
        train_dataset=load_dataset("json", data_files=str(directory.train_file), split="train"),
        peft_config=adapters.peft_config(spec),
    )
    trainers.append(trainer)
    trainer.add_callback(baton.callback(tokens))
    trainer.train()


# --- the two sides in turns ----------------------------------------------------------------------------------------


def in_turns(first: tuple[str, Path], second: tuple[str, Path], steps: int) -> tuple[Turns, Turns]:
    """Both sides' turns, of two processes that make their steps one after the other."""
    to_first, to_second = os.pipe(), os.pipe()
    os.write(to_first[1], b".")
    processes, answers = [], []
    for (which, root), take, give in ((first, to_first[0], to_second[1]), (second, to_second[0], to_first[1])):
        answer = root / f"{which}.json"
        command = [sys.executable, __file__, "--side", which, str(root), str(take), str(give), str(steps), str(answer)]
        log = (root / f"{which}.txt").open("w")
        environment = child_environment({"OMP_NUM_THREADS": "1"})
        processes.append(
            subprocess.Popen(command, pass_fds=(take, give), stdout=log, stderr=subprocess.STDOUT, env=environment)
        )
        answers.append(answer)
    for process, (which, root) in zip(processes, (first, second), strict=True):
        if process.wait():
            raise SystemExit(f"{which} failed:\n{(root / f'{which}.txt').read_text()[-3000:]}")
    one, two = (Turns(*json.loads(answer.read_text())) for answer in answers)
    return one, two


def events_share(root: Path, steps: int) -> float:
    """The share of a run's time that its events take, of one that trains alone: what is written goes by the clock."""
    take, give = os.pipe()
    os.write(give, b"." * (2 * steps))
    answer = root / f"{ALONE}.json"
    command = [sys.executable, __file__, "--side", ALONE, str(root), str(take), str(give), str(steps), str(answer)]
    environment = child_environment({"OMP_NUM_THREADS": "1"})
    subprocess.run(command, check=True, pass_fds=(take, give), capture_output=True, env=environment)
    told = Turns(*json.loads(answer.read_text()))
    return told.events_seconds / told.seconds


def instruction_rows(count: int, rng: random.Random) -> list[str]:
    """Short instruction rows: lengths are log-normal, as in the common instruction sets (median 25 words of answer,
    a tenth over 80), the words those of the sample conversations.
    """
    text = " ".join(
        turn["content"]
        for line in (shipped("sample_data") / "heldout.jsonl").read_text().splitlines()
        for turn in json.loads(line).get("messages", [])
    )
    words = text.split() or ["word"]
    lines = []
    for number in range(count):
        asked, told = (max(3, min(most, int(rng.lognormvariate(mean, 0.9)))) for mean, most in ((2.5, 60), (3.2, 220)))
        row = {
            "prompt": [{"role": "user", "content": f"{number} {' '.join(rng.choices(words, k=asked))}"}],
            "completion": [{"role": "assistant", "content": " ".join(rng.choices(words, k=told))}],
        }
        lines.append(json.dumps(row))
    return lines


def run_of(folder: Path, name: str, lines: Sequence[str], steps: int, **knobs: object) -> RunDirectory:
    """A run on these rows, with the method's defaults for a model of this size but for ``knobs``."""
    given = {"max_steps": steps, "save_steps": 100_000, **knobs}
    return make_run(folder / name, BASE, train=len(lines), held_out=0, lines=list(lines), **given)


# --- the launch ----------------------------------------------------------------------------------------------------


def launch_ours(folder: Path, rows: Path, number: int) -> tuple[float, float]:
    """Seconds from the command ``workbench train`` to its first step, and from its trainer's start."""
    name = f"launch-{number}"
    words = ["train", "--method", "sft", "--dataset", "rows", "--name", name, "--allow", "memory"]
    words += ["--general", "none", "--canaries", "none"]
    for one in ("max_steps=1000", "eval_share=0", "per_device_train_batch_size=8", "save_steps=1000"):
        words += ["--set", one]
    begun = time.time()
    subprocess.run([*_workbench(folder), *words], check=True, capture_output=True, env=child_environment())
    runs = folder / "workspace" / "runs"
    root = next(path for path in runs.iterdir() if path.name.endswith(name))
    directory = RunDirectory(root)
    while True:
        events, _ = directory.events()
        if steps := [e for e in events if e["event"] == "metrics"]:
            break
        status = directory.status()
        assert status is None or not status.state.is_over, status
        time.sleep(0.02)
    first = _seconds(steps[0]["at_utc"])
    started = _seconds(next(e["at_utc"] for e in events if e["event"] == "state"))
    directory.request(STOP)
    while not (status := directory.status()) or not status.state.is_over:
        time.sleep(0.1)
    return first - begun, first - started


def import_rows(folder: Path, rows: Path) -> None:
    """The rows as a dataset of a workspace, each accepted."""
    words = ["import", str(rows), "--dataset", "rows", "--status", "accepted"]
    subprocess.run([*_workbench(folder), *words], check=True, capture_output=True, env=child_environment())


def _workbench(folder: Path) -> list[str]:
    return [sys.executable, "-m", "workbench", "-w", str(folder / "workspace")]


def launch_trl(folder: Path, rows: Path) -> float:
    """Seconds from the command ``trl sft`` to its first step."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    shutil.copy(rows, data / "train.jsonl")
    program = Path(sys.executable).with_name("trl")
    words = [str(program), "sft", "--model_name_or_path", str(BASE), "--dataset_name", str(data), "--use_peft"]
    words += ["--max_steps", "3", "--logging_steps", "1", "--output_dir", str(folder / "trl"), "--use_cpu", "true"]
    words += ["--report_to", "none", "--save_strategy", "no", "--eval_strategy", "no", "--logging_first_step", "true"]
    begun = time.time()
    environment = child_environment({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "info"})
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True, errors="replace"
    )
    assert process.stdout is not None
    said, first = [], 0.0
    for line in process.stdout:
        said.append(line)
        if not first and "'loss'" in line:
            first = time.time() - begun
    if process.wait() or not first:
        raise SystemExit("trl sft failed:\n" + "".join(said)[-3000:])
    return first


def _seconds(at_utc: str) -> float:
    return datetime.fromisoformat(at_utc).timestamp()


# --- the table -----------------------------------------------------------------------------------------------------


def measure(folder: Path, steps: int, launches: int) -> list[str]:
    """The rows of the table."""
    rng = random.Random(5)
    lines = instruction_rows(1600, rng)
    same = run_of(folder, "same", lines, steps, train_sampling_strategy="random", logging_steps=1)
    ours, bare = in_turns((OURS, same.root), (BARE, same.root), steps)
    print(f"same settings: {ours.speed:.0f} and {bare.speed:.0f} tokens/s", flush=True)
    own = run_of(folder, "own", lines, steps)
    ours_own, defaults = in_turns((OURS, own.root), (DEFAULTS, own.root), steps)
    print(f"as it comes: {ours_own.speed:.0f} and {defaults.speed:.0f} tokens/s", flush=True)
    rows = folder / "rows.jsonl"
    rows.write_text("\n".join(lines[:400]) + "\n")
    import_rows(folder, rows)
    from_command, from_trainer, from_trl = [], [], []
    for number in range(launches):
        whole, alone = launch_ours(folder, rows, number)
        from_command.append(whole)
        from_trainer.append(alone)
        from_trl.append(launch_trl(folder, rows))
        print(f"launch: {whole:.1f} (trainer {alone:.1f}) and {from_trl[-1]:.1f} s", flush=True)
    alone = run_of(folder, "alone", lines, steps, train_sampling_strategy="random", logging_steps=1)
    events = 100 * events_share(alone.root, steps)
    return [
        _row("the same settings, tokens/s", ours.speed, bare.speed, ours.speed / bare.speed, "≥ 0.99"),
        _row("each as it comes, tokens/s", ours_own.speed, defaults.speed, ours_own.speed / defaults.speed, "> 1.5"),
        _row("command to first step, s", *_medians(from_command, from_trl), "not slower"),
        _row("trainer's start to first step, s", *_medians(from_trainer, from_trl), ""),
        f"| events, share of a step's time | {events:.2f} % | | | < 1 % |",
    ]


def _medians(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    return median(ours), median(theirs), median(theirs) / median(ours)


def _row(what: str, ours: float, theirs: float, ratio: float, wanted: str) -> str:
    digits = 0 if ours > 100 else 1
    return f"| {what} | {ours:,.{digits}f} | {theirs:,.{digits}f} | {ratio:.3f} | {wanted} |"


def page(table: Sequence[str], load: tuple[float, float], steps: int, launches: int) -> str:
    """The page that is written."""
    from importlib.metadata import version

    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft"))
    lines = [
        "# Training against TRL alone",
        "",
        f"Written by `python tests/bench/bench_train.py`, {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, one",
        f"thread a process, load {load[0]:.1f} before, {load[1]:.1f} after (with its own processes), {versions}.",
        "The embedded model with LoRA on 1,600 short instruction rows (lengths log-normal, median 25 words of answer).",
        f"Speed: {steps - WARM_UP} steps of each side after {WARM_UP}, in turns, by two processes; useful tokens over",
        "the time of a side's own turns, with everything between its steps. “The same settings”: a bare `SFTTrainer`",
        "with all of this run's arguments; “as it comes”: TRL's own defaults against this program's.",
        f"Launch: median of {launches}, in turns; `trl sft --use_peft` on the same rows, both to the first step's end.",
        "Events: of a run alone, what they keep its training thread from going on, and the processor's time of the",
        "thread that watches.",
        "The ratio is above 1 where this program is faster. A CPU machine; on a GPU none of this was measured.",
        "",
        "| | workbench | TRL | ratio | wanted |",
        "|---|---:|---:|---:|---|",
        *table,
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write; or be one side of it."""
    if sys.argv[1:2] == ["--side"]:
        which, root, take, give, steps, answer = sys.argv[2:]
        side(which, Path(root), int(take), int(give), int(steps), Path(answer))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--launches", type=int, default=3)
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        table = measure(Path(folder), arguments.steps, arguments.launches)
    text = page(table, (before, os.getloadavg()[0]), arguments.steps, arguments.launches)
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
