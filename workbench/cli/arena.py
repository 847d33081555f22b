"""The comparison commands: make blind pairs, rate them, read the results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, positive
from workbench.cli.session import Session
from workbench.errors import NotFoundError, RefusedError, UsageError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.domain.comparisons import BlindView
    from workbench.flows.compare import Result


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``compare``, ``rate`` and ``results``."""
    one = add(commands, common, "compare", compare, "let two models answer prompts, for blind rating")
    one.add_argument("a", metavar="A")
    one.add_argument("b", metavar="B")
    one.add_argument("--prompts", default="", metavar="FILE|DATASET", help="default: the sample prompts")
    one.add_argument("--limit", type=positive, default=20, metavar="N")
    one.add_argument("--seed", type=int, metavar="N")
    one.add_argument("--temperature", type=float, default=None, metavar="X")
    one.add_argument("--max-tokens", type=positive, default=None, metavar="N")

    one = add(commands, common, "rate", rate, "rate blind pairs on screen, or one from a script")
    one.add_argument("id", type=int, nargs="?", metavar="ID")
    one.add_argument("verdict", nargs="?", choices=["left", "right", "tie", "both-bad", "skip"])
    one.add_argument("--next", action="store_true", help="show the next unrated pair, without names")
    one.add_argument("--undo", action="store_true", help="take the last vote back, or with ID and a verdict change it")
    one.add_argument("--promote", action="store_true", help="make a preference pair of a decided vote on ID")
    one.add_argument("--comment", default="", metavar="T")
    one.add_argument("--rater", default=None, metavar="R", help="who votes (default: the system user)")

    one = add(commands, common, "results", results, "the score, with its interval")
    one.add_argument("a", nargs="?", default="", metavar="A")
    one.add_argument("b", nargs="?", default="", metavar="B")


def compare(session: Session, args: argparse.Namespace) -> None:
    """Generate blind pairs into the queue."""
    import secrets
    from dataclasses import replace

    from workbench.flows import compare as flow

    source = _prompt_source(args.prompts)
    prompts = flow.prompts_from(session.bench, source)[: args.limit]
    given = {"temperature": args.temperature, "max_tokens": args.max_tokens}
    sampling = replace(session.settings.chat.sampling, **{k: v for k, v in given.items() if v is not None})
    seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    made: list[int] = []
    for comparison in flow.prepare(session.bench, args.a, args.b, prompts, sampling=sampling, seed=seed):
        made.append(comparison.id)
        session.out.progress(f"{len(made)} of {len(prompts)} answered by both")
    session.out.end_progress()
    text = f"{len(made)} pairs are ready; workbench rate shows them without names"
    session.out.data({"comparisons": made, "generated": len(made), "seed": seed}, text)


def _prompt_source(text: str) -> Path | str | None:
    if not text:
        return None
    path = Path(text).expanduser()
    return path if path.exists() else text


def rate(session: Session, args: argparse.Namespace) -> int:
    """Open the rating screen, or rate one pair."""
    from workbench.domain.comparisons import Verdict
    from workbench.flows import compare as flow

    if args.next:
        view = flow.next_blind(session.bench)
        if view is None:
            raise NotFoundError("no pair waits for a vote", hint="workbench compare A B makes some")
        session.out.data(_blind_row(view), _blind_text(view))
        return 0
    if args.undo and args.verdict is None:
        view = flow.undo_vote(session.bench)
        if view is None:
            raise NotFoundError("there is no vote to take back")
        session.out.data({"undone": view.comparison_id}, f"the vote on {view.comparison_id} is taken back")
        return 0
    if args.id is None:
        from workbench.cli.system import open_tui

        return open_tui(session, args, pane="arena")
    if args.promote:
        made = flow.promote(session.bench, args.id)
        session.out.data({"example": made.examples[0].id, "said": made.said}, made.said)
        return 0
    if args.verdict is None:
        raise UsageError(f"what is your vote on {args.id}?", hint="left, right, tie, both-bad or skip")
    if not args.undo and (vote := flow.standing_vote(session.bench, args.id)) is not None:
        raise RefusedError(
            f"you voted {vote.verdict.value} on {args.id} already",
            hint="--undo changes it; what is voted once the names are known does not count",
        )
    reveal = flow.rate(session.bench, args.id, Verdict(args.verdict), comment=args.comment)
    rating = {
        "id": reveal.rating.id,
        "comparison": args.id,
        "verdict": args.verdict,
        "rater": reveal.rating.rater,
        "blind": reveal.rating.blind,
        "left_model": reveal.left_model,
        "right_model": reveal.right_model,
    }
    session.out.data({"rating": rating}, reveal.said)
    return 0


def _blind_row(view: BlindView) -> dict[str, object]:
    return {
        "comparison": view.comparison_id,
        "prompt": [t.as_dict() for t in view.prompt],
        "left": view.left_text,
        "right": view.right_text,
    }


def _blind_text(view: BlindView) -> str:
    prompt = "\n".join(f"[{t.role}] {t.content}" for t in view.prompt)
    return f"comparison {view.comparison_id}\n{prompt}\n--- left\n{view.left_text}\n--- right\n{view.right_text}"


def result_row(result: Result) -> dict[str, object]:
    """One pair of models as ``--json`` gives it."""
    score, rate_ = result.score, result.win_rate
    return {
        "a": score.a,
        "b": score.b,
        "a_wins": score.a_wins,
        "b_wins": score.b_wins,
        "ties": score.ties,
        "both_bad": score.both_bad,
        "win_rate": rate_.value,
        "low": rate_.low,
        "high": rate_.high,
        "verdict": result.verdict,
        "more_votes": result.more_votes,
    }


def results(session: Session, args: argparse.Namespace) -> None:
    """The score of each pair of models."""
    from workbench.flows import compare as flow

    a, b = (flow.compared_model(session.bench, name) for name in (args.a, args.b))
    rows = [result_row(r) for r in flow.results(session.bench, a, b)]
    if session.out.as_json:
        session.out.data({"pairs": rows, "ranking": _ranking(rows)})
        return
    session.out.table(rows, ["a", "b", "a_wins", "b_wins", "ties", "both_bad", "win_rate", "low", "high", "verdict"])


def _ranking(rows: list[dict[str, object]]) -> list[str]:
    """Models by decided votes won less votes lost; a plain order, not a rating."""
    points: dict[str, int] = {}
    for row in rows:
        a_wins, b_wins = int(str(row["a_wins"])), int(str(row["b_wins"]))
        points[str(row["a"])] = points.get(str(row["a"]), 0) + a_wins - b_wins
        points[str(row["b"])] = points.get(str(row["b"]), 0) + b_wins - a_wins
    return sorted(points, key=lambda name: (-points[name], name))
