"""The time of day, in one form."""

from __future__ import annotations

import time
from functools import lru_cache


def now() -> str:
    """The present moment as ISO 8601 in UTC with microseconds, as ledger lines and manifests write it."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_to_the_second(seconds)}.{nanoseconds // 1000:06d}Z"


@lru_cache(maxsize=4)
def _to_the_second(seconds: int) -> str:
    """Ledger lines come by the thousand in each second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
