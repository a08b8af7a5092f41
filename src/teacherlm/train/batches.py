"""A stage's micro-batches in their final order: a pure function of what is declared, so that a run resumes exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from teacherlm.core.errors import Mistake
from teacherlm.train.encode import PARTS
from teacherlm.train.mixing import epoch_texts
from teacherlm.train.rows import fill, runs, share_out
from teacherlm.train.steps import Steps, bucketed, joined, room_of_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from teacherlm.train.declaration import Loss, Stage
    from teacherlm.train.prepared import Prepared


class Batches:
    """Micro-batches of a whole stage, all epochs; `[i]` gives CPU tensors.

    Micro-batch `i` belongs to optimizer step `i // (accumulate * devices)`, and within it to device `i % devices`. What
    a step reads does not depend on the number of devices.
    """

    steps: int
    """Optimizer steps."""
    accumulate: int
    """Micro-batches that each device reads in one step; the same in all steps."""
    tokens: int
    """Real tokens of all steps; padding is not counted."""
    padding: float
    """Share of the cells that hold no token."""

    def __init__(
        self,
        prepared: Prepared,
        stage: Stage,
        *,
        packing: bool,
        window: int,
        device_tokens: int | None,
        devices: int = 1,
        seed: int = 0,
        loss: Loss | None = None,
    ) -> None:
        """Plan a stage.

        Args:
            packing: several texts in one row; the model must be able to keep them apart (see packing.py).
            window: tokens of one text; rows of several texts are about as long.
            device_tokens: most cells of a micro-batch; None: no limit.
            loss: left out: the stage's.

        Raises:
            Mistake: a text exceeds a step's or a device's tokens.
        """
        self._prepared = prepared
        self._stage = stage
        self._weights = np.array([getattr(loss or stage.loss, part) for part in PARTS], dtype=np.float32)
        longest = int(prepared.lengths.max())
        _check(stage, longest, device_tokens)
        self.packing = packing
        self.room = room_of_rows(prepared.lengths, window, stage.batch_tokens, device_tokens) if packing else longest
        """Most tokens of a row."""
        self._plan = self._planned(device_tokens, seed)
        per_step = self._plan.tokens(prepared.lengths)
        self.steps, self.tokens = len(self._plan), int(per_step.sum())
        self._read = np.concatenate([[0], np.cumsum(per_step)])
        self._spread(device_tokens, devices)

    def __len__(self) -> int:
        return len(self._begins)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """One micro-batch.

        Returns:
            Shape (rows, columns) each: `input_ids`, `attention_mask` (1 at tokens), `position_ids` (from 0 in each
            text), `sequence_ids` (0 at padding, 1 and on for the texts of a row), all int64; `weights` (float32): what
            predicting the token at this place weighs, 0 for the first token of a text. A step of fewer rows than
            micro-batches has some without a token.
        """
        import torch

        if not 0 <= place < len(self):
            raise IndexError(place)
        rows = range(int(self._begins[place]), int(self._ends[place]))
        texts = [self._plan.texts[self._plan.rows[row] : self._plan.rows[row + 1]] for row in rows]
        columns = max((int(self._prepared.lengths[row].sum()) for row in texts), default=1)
        shape = (max(len(texts), 1), columns)
        ids, sequences, positions = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        weights = np.zeros(shape, dtype=np.float32)
        for row, members in enumerate(texts):
            at = 0
            for number, text in enumerate(members, start=1):
                tokens, parts = self._prepared.row(int(text))
                end = at + len(tokens)
                ids[row, at:end] = tokens
                sequences[row, at:end] = number
                positions[row, at:end] = np.arange(len(tokens))
                weights[row, at + 1 : end] = self._weights[parts[1:]]
                at = end
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy((sequences > 0).astype(np.int64)),
            "position_ids": torch.from_numpy(positions),
            "sequence_ids": torch.from_numpy(sequences),
            "weights": torch.from_numpy(weights),
        }

    def tokens_until(self, step: int) -> int:
        """Real tokens that are read when so many optimizer steps are done."""
        return int(self._read[step])

    def texts_of(self, step: int) -> NDArray[np.int64]:
        """The prepared texts that an optimizer step reads."""
        first, stop = self._plan.steps[step : step + 2]
        return self._plan.texts[self._plan.rows[first] : self._plan.rows[stop]]

    def _planned(self, device_tokens: int | None, seed: int) -> Steps:
        lengths, stage = self._prepared.lengths, self._stage
        weights = [data.weight for data in stage.data]
        plans: list[Steps] = []
        tokens = 0
        while True:
            epoch = len(plans)
            order = epoch_texts(self._prepared.sources, weights, seed, epoch)
            source = np.random.default_rng([seed, len(weights), epoch, 1])
            starts = np.arange(len(order) + 1)
            if self.packing:
                places, starts = fill(lengths[order], self.room)
                order = order[places]
            plan = bucketed(order, starts, lengths, stage.batch_tokens, device_tokens, source)
            if stage.epochs is not None and (left := stage.epochs - epoch) < 1:
                plan = plan.first(max(round(left * len(plan)), 0 if plans else 1))
            plans.append(plan)
            if stage.epochs is not None and len(plans) >= stage.epochs:
                return joined(plans)
            if stage.tokens is not None:
                read = tokens + np.cumsum(plan.tokens(lengths))
                if read[-1] >= stage.tokens:
                    plans[-1] = plan.first(int(np.searchsorted(read, stage.tokens)) + 1)
                    return joined(plans)
                tokens = int(read[-1])

    def _spread(self, device_tokens: int | None, devices: int) -> None:
        """Spread each step's rows over micro-batches, equally many in all steps."""
        plan = self._plan
        filled = plan.row_tokens(self._prepared.lengths)
        spans = list(zip(plan.steps[:-1].tolist(), plan.steps[1:].tolist(), strict=True))
        needed = 1
        if device_tokens is not None:
            needed = max(len(share_out(filled[first:stop], device_tokens)) - 1 for first, stop in spans)
        self.accumulate = -(-needed // devices)
        count = self.accumulate * devices
        cuts = np.empty((len(spans), count + 1), dtype=np.int64)
        for step, (first, stop) in enumerate(spans):
            cuts[step] = first + runs(filled[first:stop], count)
        self._begins, self._ends = cuts[:, :-1].ravel(), cuts[:, 1:].ravel()
        taken = self._begins < self._ends
        widest = np.maximum.reduceat(filled, self._begins[taken])
        cells = int((widest * (self._ends - self._begins)[taken]).sum())
        self.padding = 1 - self.tokens / cells


def _check(stage: Stage, longest: int, device_tokens: int | None) -> None:
    for name, limit in (("batch_tokens", stage.batch_tokens), ("device_tokens", device_tokens)):
        if limit is not None and limit < longest:
            raise Mistake(
                f"`{name}` is {limit:,} and the longest text of stage `{stage.name}` has {longest:,} tokens",
                f"write  {name}: {longest}  or more, or a smaller window",
            )
