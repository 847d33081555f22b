"""What a served model counts of its work, for Prometheus to collect."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response

from workbench.worker.engine.answering import Answer
from workbench.worker.engine.desk import PublicState
from workbench.worker.engine.server import memory_bytes

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Counts:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, public: PublicState) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "workbench_requests",
            "Requests for answers, by how they ended",
            ["model", "outcome"],
            registry=self._registry,
        )
        self._prompt, self._remembered, self._drawn = (
            Counter(f"workbench_{name}_tokens", text, ["model"], registry=self._registry)
            for name, text in (
                ("prompt", "Tokens of prompts that were read, also for answers that were broken off"),
                ("cached_prompt", "Those of them that were remembered and not run again"),
                ("completion", "Tokens of answers, also of those that were broken off"),
            )
        )
        self._first, self._whole = (
            Histogram(f"workbench_{name}_seconds", text, ["model"], buckets=SECONDS, registry=self._registry)
            for name, text in (("first_token", "Until an answer's first token"), ("answer", "Until an answer's end"))
        )
        for name, text, value in (
            ("active_answers", "Answers being made", lambda: public.active),
            ("waiting_answers", "Answers that wait for their turn", lambda: public.waiting),
            ("remembered_bytes", "Keys and values kept of past prompts", lambda: public.remembered_bytes),
            ("memory_bytes", "Memory in use: the GPU's, or the process's", lambda: memory_bytes(public.device)),
        ):
            Gauge(f"workbench_{name}", text, registry=self._registry).set_function(value)

    def refused(self, model: str, code: str) -> None:
        """A request was turned away before it had a row; ``model`` is "" where none was named that is served."""
        self._requests.labels(model, code).inc()

    def answered(self, answer: Answer) -> None:
        """A response is over."""
        model, ends = answer.asked.model, answer.ends
        outcome = "done" if len(ends) == answer.asked.n else "cancelled"
        self._requests.labels(model, answer.refusal.code if answer.refusal else outcome).inc()
        self._drawn.labels(model).inc(answer.tokens)
        for end in ends:
            self._first.labels(model).observe(end.first_token_ms / 1000)
            self._whole.labels(model).observe(end.duration_ms / 1000)
        self._prompt.labels(model).inc(answer.read.prompt_tokens)
        self._remembered.labels(model).inc(answer.read.remembered_tokens)

    def page(self) -> Response:
        """The text that Prometheus reads."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
