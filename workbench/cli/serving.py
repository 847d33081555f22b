"""``serve``: models for other programs, by the protocol that they speak already."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.cli.parsing import add
from workbench.cli.session import Session
from workbench.domain.serving import PRECISIONS, ServeLimits, ServeSpec

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``serve``."""
    usual, limits = ServeSpec(()), ServeLimits()
    sub = add(commands, common, "serve", serve, "serve models to applications: OpenAI's chat completions on a port")
    sub.add_argument("models", nargs="+", metavar="MODEL", help="a base, or adapters on one base")
    sub.add_argument("--host", default=usual.host, metavar="H", help=f"address to listen on (default: {usual.host})")
    sub.add_argument("--port", type=int, default=usual.port, metavar="P", help="0 takes any that is free")
    sub.add_argument(
        "--api-key-env",
        default="",
        metavar="NAME",
        help="environment variable with the key that clients must send; needed unless only this machine can ask",
    )
    sub.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="web pages of this origin may ask from a browser (may be given again)",
    )
    sub.add_argument("--precision", choices=PRECISIONS, default="auto", help="numbers the base is loaded in")
    sub.add_argument("--max-concurrent", type=int, default=limits.concurrent, metavar="N", help="requests at a time")
    sub.add_argument("--max-tokens", type=int, default=limits.max_tokens, metavar="N", help="longest answer")
    sub.add_argument("--max-body", type=int, default=limits.body_bytes, metavar="BYTES", help="largest request")
    sub.add_argument("--max-seconds", type=float, default=limits.seconds, metavar="S", help="longest time for one")
    sub.add_argument(
        "--drain-seconds",
        type=float,
        default=usual.drain_seconds,
        metavar="S",
        help="how long answers under way may still take after SIGTERM",
    )
    sub.add_argument("--print-vllm", action="store_true", help="print the vLLM command for the same and end")


def serve(session: Session, args: argparse.Namespace) -> int:
    """Serve until interrupted; prints the URL once the models answer."""
    from workbench.flows import serving as flow
    from workbench.jobs import serving

    spec = ServeSpec(
        models=flow.places(session.bench, args.models),
        host=args.host,
        port=args.port,
        api_key_env=args.api_key_env,
        origins=tuple(args.allow_origin),
        precision=args.precision,
        drain_seconds=args.drain_seconds,
        limits=ServeLimits(args.max_concurrent, args.max_body, args.max_tokens, args.max_seconds),
    )
    if args.print_vllm:
        return _print_vllm(session, flow.check_key_is_asked_for(spec))
    flow.check(spec)
    names = ", ".join(each.name for each in spec.models)
    session.out.say(f"loading {names}…")

    def ready(url: str) -> None:
        session.out.data({"url": url, "models": [each.name for each in spec.models]}, f"{names} at {url}")

    serving.serve(spec, ready)
    return 0


def _print_vllm(session: Session, spec: ServeSpec) -> int:
    from workbench.flows import vllm

    words, variables = vllm.command(spec), vllm.environment(spec)
    session.out.data({"command": words, "environment": variables}, vllm.as_shell(words, variables))
    return 0
