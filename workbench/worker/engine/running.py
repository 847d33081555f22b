"""What the engine on its socket and the one on a port have in common: the scheduler's thread, how signals end it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
import warnings

from workbench.worker.engine.desk import Desk
from workbench.worker.engine.wire import Refusal

LAST_WORDS_SECONDS = 1.0


def let_the_server_end_on_signals() -> None:
    """Have SIGTERM and SIGINT do nothing but what uvicorn makes of them.

    It ends in order, and then raises them once more: that must not kill us before we cleaned up.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)


def schedule(desk: Desk, precision: str) -> None:
    """The scheduler's thread: import torch while the socket already answers, then serve."""
    # It says at every import that a faster kernel is not installed, which is harmless and nothing to act on.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)  # what the libraries tell each other
    try:
        from workbench.worker.engine.scheduler import Scheduler  # 3 to 6 s: torch, transformers, peft

        Scheduler(desk, precision).run()
    except BaseException as error:  # noqa: BLE001 - the worker's door: without this thread every request would hang
        traceback.print_exc(file=sys.stderr)
        desk.public.state, desk.public.detail = "failed", f"the engine cannot work: {error}"
        hint = "the engine's log has the whole story; workbench doctor checks the installation"
        desk.fail_all(Refusal(desk.public.detail, code="engine_broken", status=503, hint=hint), broken=True)
        time.sleep(LAST_WORDS_SECONDS)
        os._exit(1)  # leaving the pid file: the bench then says that the engine died, and can start another
