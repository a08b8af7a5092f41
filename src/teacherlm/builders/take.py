"""Take: a part of a dataset's samples, drawn by seed, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Take:
    """Which samples of a dataset a build keeps; the others are counted as `left`.

    Of the good rows of all taken splits together those with the smallest MD5 of `SEED/SAMPLE_ID` are kept, in the
    order of the source: whatever the machine, the threads or the order of the rows, they are the same samples. A
    smaller part is contained in a larger one of the same seed.
    """

    at_most: int | None = None
    """Samples of the dataset; one with fewer gives all. None: all of them."""
    seed: int = 0
    splits: tuple[str, ...] | None = None
    """Our names of the splits to read; None: all that the source has."""

    def __post_init__(self) -> None:
        if self.at_most is not None and self.at_most < 0:
            raise ValueError(f"at_most is {self.at_most}; it is 0 or more")
        if self.splits is not None and not self.splits:
            raise ValueError("splits is empty; name one, or give None for all")

    def order(self, sample_id: str = "sample_id") -> str:
        """The SQL expression that samples are drawn by: 32 hex digits."""
        return f"md5('{self.seed}/' || {sample_id})"
