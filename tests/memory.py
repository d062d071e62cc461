"""How much memory a piece of work takes, as Python and numpy allocate it."""

import tracemalloc


def peak_bytes(work) -> int:
    """Return the most that was allocated at once during the work; memory maps do not count."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
