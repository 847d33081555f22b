"""How much memory the C library keeps for later: little, because a terminal program stands idle most of the time.

By itself glibc gives each thread a heap of its own and keeps what was freed there, and after the first large piece that
is freed it takes such pieces from those heaps too: the ids of a million rows, read by another thread each time, would
stay several times over. Other C libraries are left alone.
"""

from __future__ import annotations

import sys

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE_BYTES, _KEPT_BYTES = 128 * 1024, 512 * 1024


def keep_small() -> bool:
    """Give what is freed back to the system soon; True where the C library can be told so.

    To be called before threads are started: one that runs keeps its heap.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # 7 ms

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library than glibc
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGE_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES))
    return all(bool(mallopt(which, value)) for which, value in settings)
