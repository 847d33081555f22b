"""The C library's heap: one for all threads, where glibc says how many there are."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

COUNTED = """
import ctypes, sys, threading
from workbench.tui.heap import keep_small

told = sys.argv[1] == "small" and keep_small()
barrier = threading.Barrier(4)

def allocate():
    kept = [bytes(2000) for _ in range(200)]
    barrier.wait()

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(told, flush=True)
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="another C library than glibc")
def test_all_threads_share_one_heap() -> None:
    def heaps(how: str) -> tuple[str, int]:
        done = subprocess.run(
            [sys.executable, "-c", COUNTED, how], check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip(), done.stderr.count("Arena ")

    assert heaps("small") == ("True", 1)
    assert heaps("as it is")[1] > 1  # else the test would show nothing


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.tui.heap import keep_small

    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_small()
