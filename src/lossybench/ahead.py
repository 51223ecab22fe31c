"""Work that is done ahead in background threads, in the order of what it is done on."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 4  # results, for each background thread, that are waiting or in the making

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def in_order(work: Callable[[_In], _Out], items: Iterable[_In], threads: int) -> Iterator[_Out]:
    """The results of `work` on the `items`, in their order, made by so many background `threads` ahead of the caller.

    Without any, the caller's own thread makes each when it is asked for. At most `AHEAD` results for each thread are
    kept waiting. Raises what `work` raises.
    """
    if threads < 1:
        yield from map(work, items)
        return
    source = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Out]] = deque()
        try:
            waiting.extend(pool.submit(work, item) for item in itertools.islice(source, threads * AHEAD))
            while waiting:
                made = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in itertools.islice(source, 1))
                yield made
        finally:
            for future in waiting:
                future.cancel()
