"""The comparison commands: make blind pairs, rate them, read the results."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, positive
from workbench.cli.session import Session
from workbench.domain.counting import counted
from workbench.domain.foreign_text import cell
from workbench.errors import NotFoundError, RefusedError, UsageError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.domain.comparisons import BlindView, Score
    from workbench.domain.rounds import Round


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``compare``, ``rate`` and ``results``."""
    one = add(commands, common, "compare", compare, "let two or more models answer prompts, for blind rating")
    one.add_argument("models", metavar="MODEL", nargs="*", help="two models, or more for a round-robin")
    source = "a file, DATASET or DATASET:SPLIT, @chats, @to-fix (default: the sample prompts)"
    one.add_argument("--prompts", default="", metavar="FILE|DATASET", help=source)
    one.add_argument(
        "--resume", action="store_true", help="go on with a round that was killed, or left as the models failed"
    )
    one.add_argument("--limit", type=positive, default=20, metavar="N")
    one.add_argument(
        "--choose",
        choices=["first", "random", "differing"],
        default="first",
        help="of more prompts than --limit: the first, some at random, or half at random and half where short greedy "
        "drafts of the models differ most (only the random half counts for the rate)",
    )
    one.add_argument("--seed", type=int, metavar="N")
    one.add_argument("--temperature", type=float, default=None, metavar="X")
    one.add_argument("--max-tokens", type=positive, default=None, metavar="N")

    one = add(commands, common, "rate", rate, "rate blind pairs on screen, or one from a script")
    one.add_argument("id", type=int, nargs="?", metavar="ID")
    one.add_argument("verdict", nargs="?", choices=["left", "right", "tie", "both-bad", "skip"])
    one.add_argument("--next", action="store_true", help="show the next unrated pair, without names")
    one.add_argument(
        "--order",
        choices=["made", "differing"],
        default="made",
        help="differing: --next shows the most "
        "different answers first, by the share of their words that are not in common",
    )
    one.add_argument("--undo", action="store_true", help="take the last vote back, or with ID and a verdict change it")
    one.add_argument("--promote", action="store_true", help="make a preference pair of a decided vote on ID")
    one.add_argument("--comment", default="", metavar="T")
    one.add_argument("--strength", choices=["slight", "clear", "much"], default="clear", help="of a decided vote")
    one.add_argument(
        "--mark",
        action="append",
        default=[],
        metavar="CRITERION=L,R",
        help="marks from 1 to 5, left and right, by the rubric",
    )
    one.add_argument(
        "--rubric",
        action="store_true",
        help="print the criteria for marks as TOML; rubric.toml in the workspace holds those that you write",
    )
    one.add_argument("--rater", default=None, metavar="R", help="who votes (default: the system user)")

    one = add(
        commands, common, "results", results, "who is better, how sure that is, and what could have led the votes"
    )
    one.add_argument("a", nargs="?", default="", metavar="A")
    one.add_argument("b", nargs="?", default="", metavar="B")
    one.add_argument("--rater", dest="by", default="", metavar="R", help="only the votes of this person")
    one.add_argument("--tag", default="", metavar="T", help="only prompts with this tag")
    one.add_argument("--hide-fast", action="store_true", help="leave out votes that took less than 2 s")
    one.add_argument("--hide-live", action="store_true", help="leave out votes on answers that were watched")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="draws the bootstrap")


def compare(session: Session, args: argparse.Namespace) -> None:
    """Generate blind pairs into the queue."""
    from workbench.flows import rounds

    if args.resume:
        found = rounds.left_behind(session.bench, given_up=True)
        if found is None:
            raise NotFoundError("no round was left behind", hint="workbench compare A B begins one")
    else:
        found = _begin(session, args)
    made: list[int] = []
    equal = 0
    for comparison in rounds.run(session.bench, found):
        made.append(comparison.id)
        equal += comparison.identical
        session.out.progress(f"{found.done + len(made)} of {found.total} answered by both")
    session.out.end_progress()
    left = f"; {counted(equal, 'pairs')} with equal answers: ties without a vote" if equal else ""
    how = "workbench rate shows them without names" if equal < len(made) else "there is none to vote on"
    text = f"ready: {counted(len(made), 'pairs')}{left}; {how}"
    session.out.data(
        {"comparisons": made, "generated": len(made), "equal_answers": equal, "seed": found.sampling.seed}, text
    )


def _begin(session: Session, args: argparse.Namespace) -> Round:
    import secrets
    from dataclasses import replace

    from workbench.domain.rounds import Choosing
    from workbench.flows import choosing, prompts, rounds

    if len(args.models) < 2:
        raise UsageError("which models?", hint="workbench compare A B, or more for a round-robin")
    rows = prompts.prompt_rows(session.bench, prompts.source_named(args.prompts))
    given = {"temperature": args.temperature, "max_tokens": args.max_tokens}
    sampling = replace(session.settings.chat.sampling, **{k: v for k, v in given.items() if v is not None})
    seed = secrets.randbelow(2**31) if args.seed is None else args.seed

    def drafted(done: int, total: int) -> None:
        session.out.progress(f"{done} of {total} drafts")

    how, limit = Choosing(args.choose), args.limit
    rows = choosing.choose(session.bench, args.models, rows, how, limit=limit, seed=seed, on_draft=drafted)
    return rounds.begin(session.bench, args.models, rows, sampling=sampling, seed=seed)


def rate(session: Session, args: argparse.Namespace) -> int:
    """Open the rating screen, or rate one pair."""
    from dataclasses import asdict

    from workbench.domain.comparisons import Strength, Verdict, VoteDetails
    from workbench.domain.rubrics import rubric_to_toml
    from workbench.flows import compare as flow

    if args.rubric:
        rubric = flow.rubric(session.bench)
        session.out.data({"criteria": [asdict(one) for one in rubric]}, rubric_to_toml(rubric).rstrip("\n"))
        return 0
    if args.next:
        view = flow.next_blind(session.bench, order=args.order)
        if view is None:
            raise NotFoundError("no pair waits for a vote", hint="workbench compare A B makes some")
        session.out.data(_blind_row(view), _blind_text(view))
        return 0
    if args.undo and args.verdict is None:
        back = flow.undo_vote(session.bench)
        if back is None:
            raise NotFoundError("there is no vote to take back")
        undone = back.view.comparison_id
        text = f"the vote on {undone} is taken back; a new one on it does not count"
        if back.kept is not None:
            text += f"\nexample {back.kept.id} in {flow.DATASET} was made of it, and stays"
        session.out.data({"undone": undone, "example": back.kept.id if back.kept else None}, text)
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
    details = VoteDetails(args.comment, strength=Strength(args.strength), rubric=_marks(args.mark))
    reveal = flow.rate(session.bench, args.id, Verdict(args.verdict), details=details)
    rating = {
        "id": reveal.rating.id,
        "comparison": args.id,
        "verdict": args.verdict,
        "rater": reveal.rating.rater,
        "blind": reveal.rating.blind,
        "strength": reveal.rating.strength,
        "marks": dict(reveal.rating.rubric),
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


def _marks(given: list[str]) -> dict[str, tuple[int, int]]:
    """``helpful=4,2`` as marks; raises ``UsageError``."""
    found = {}
    for text in given:
        name, _, both = text.partition("=")
        parts = both.split(",")
        if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
            raise UsageError(
                f"{text!r} is no mark", hint="--mark helpful=4,2 gives the left answer 4 and the right one 2"
            )
        found[name.strip()] = (int(parts[0]), int(parts[1]))
    return found


def _between(score: Score) -> str:
    return f"{cell(score.a, 40)} against {cell(score.b, 40)}"


def results(session: Session, args: argparse.Namespace) -> None:
    """The standings, the ranking and the checks."""
    from dataclasses import asdict

    from workbench.domain.results import VoteFilter, standing
    from workbench.flows import compare, judging
    from workbench.flows import results as flow
    from workbench.flows.results_told import check_lines, chosen_line, judge_lines, verdict_line

    a, b = (compare.compared_model(session.bench, name) for name in (args.a, args.b))
    which = VoteFilter(args.by, args.tag, args.hide_fast, args.hide_live)
    report = flow.report(session.bench, a, b, which=which, seed=args.seed)
    judges = judging.standings(session.bench)
    if session.out.as_json:
        session.out.data(report.as_dict() | {"judges": [one.as_dict() for one in judges]})
        return
    rows = [standing(score) for score in report.scores]
    session.out.table(rows, ["a", "b", "a_wins", "b_wins", "ties", "both_bad", "win_rate", "low", "high", "verdict"])
    if len(report.ranking) > 2:
        session.out.table([asdict(rank) for rank in report.ranking], ["model", "rating", "low", "high", "votes"])
    lines = [f"  {_between(score)}  {verdict_line(score)}" for score in report.scores]
    lines += [f"  {_between(score)}{chosen_line(score)}" for score in report.on_chosen.values()]
    lines += check_lines(report)
    if args.tag and args.tag not in report.tags:
        known = ", ".join(cell(tag, 40) for tag in report.tags) or "none"
        lines.append(f"  no prompt that was voted on has the tag {cell(args.tag, 40)}; known: {known}")
    lines += [line for one in judges for line in judge_lines(one)]
    session.out.data({}, "\n".join(lines))
