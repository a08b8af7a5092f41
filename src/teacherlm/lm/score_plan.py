"""What is read together: contexts that begin alike, longest first.

Worked examples and descriptions stand before every question of a subject. In the tree of all contexts, each node is a
beginning that some of them share; reading it once saves its length for all of them but one. Those nodes are chosen,
none below another, that save most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from teacherlm.lm.score_pairs import Ids, Pair

WORTH = 256
"""Tokens that sharing a beginning must save for a pass of its own to pay, with the copies that come with it."""

HELD = 4
"""Columns of keys and values that a batch may hold for each token that it reads."""


@dataclass(frozen=True, slots=True)
class Context:
    """One context and all that is asked after it."""

    ids: Ids
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Contexts with a common beginning, the longest first."""

    shared: Ids
    """What is read once; may be empty."""
    contexts: tuple[Context, ...]


def batched(shared: Ids, contexts: Sequence[Context], most: int) -> Sequence[Context]:
    """The first of a group's contexts, as many as are read together: at least one.

    Args:
        shared: what all of them begin with.
        contexts: the longest first.
        most: padded tokens that are read.
    """
    longest = len(contexts[0].ids)
    tail = max(1, longest - len(shared))
    return contexts[: max(1, min(most // tail, HELD * most // longest))]


def planned(pairs: Sequence[Pair], worth: int = WORTH) -> list[Group]:
    """All requests, each in one group; the longest come first, so that what does not fit into memory shows at once."""
    together: dict[Ids, list[Pair]] = {}
    for pair in pairs:
        together.setdefault(pair.context, []).append(pair)
    contexts = [Context(ids, tuple(own)) for ids, own in sorted(together.items())]
    groups: list[Group] = []
    alone = set(range(len(contexts)))
    for length, first, count in beginnings([one.ids for one in contexts], worth):
        members = range(first, first + count)
        alone.difference_update(members)
        groups.append(_group(contexts[first].ids[:length], [contexts[place] for place in members]))
    if alone:
        groups.append(_group((), [contexts[place] for place in sorted(alone)]))
    return sorted(groups, key=lambda group: -len(group.contexts[0].ids))


def _group(shared: Ids, contexts: Sequence[Context]) -> Group:
    return Group(shared, tuple(sorted(contexts, key=lambda one: -len(one.ids))))


@dataclass(slots=True)
class _Node:
    """A beginning of `depth` tokens, with what is known of the contexts below it."""

    depth: int
    first: int
    count: int = 0
    saved: int = 0
    chosen: list[tuple[int, int, int]] = field(default_factory=list)

    def take(self, child: _Node) -> None:
        self.count += child.count
        self.saved += child.saved
        self.chosen += child.chosen

    def close(self, worth: int) -> _Node:
        """Decide whether this beginning saves more than those below it."""
        own = (self.count - 1) * self.depth - worth
        if own > self.saved:
            self.saved, self.chosen = own, [(self.depth, self.first, self.count)]
        return self


def beginnings(contexts: Sequence[Ids], worth: int) -> list[tuple[int, int, int]]:
    """The beginnings that are worth a pass: `(length, first context, how many contexts)`.

    Args:
        contexts: different ones, sorted.
        worth: tokens that a beginning must save.

    Source: the tree of common prefixes, built from the sorted texts in one go, as in Abouelhoda, Kurtz and Ohlebusch,
    "Replacing suffix trees with enhanced suffix arrays", 2004, algorithm 4.4.

    >>> beginnings([(1, 2, 3, 4), (1, 2, 3, 5), (1, 9), (7, 8)], worth=1)
    [(3, 0, 2)]
    >>> beginnings([(1, 2, 3), (4, 5, 6)], worth=1)
    []
    """
    if not contexts:
        return []
    open_nodes = [_Node(0, 0)]
    for place in range(len(contexts)):
        depth = common(contexts[place], contexts[place + 1]) if place + 1 < len(contexts) else 0
        child = _Node(len(contexts[place]), place, count=1)
        while open_nodes[-1].depth > depth:
            parent = open_nodes.pop()
            parent.take(child)
            child = parent.close(worth)
        if open_nodes[-1].depth < depth:
            open_nodes.append(_Node(depth, child.first))
        open_nodes[-1].take(child)
    return open_nodes[0].close(worth).chosen


def common(one: Ids, other: Ids) -> int:
    """How many tokens both begin with.

    >>> common((1, 2, 3), (1, 2, 4, 5))
    2
    """
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
