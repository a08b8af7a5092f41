"""A training from its declaration to the weights of its stages; what is finished is not repeated.

All data is prepared, and all that can be checked is checked, before anything is thrown away and before the first step.
"""

from __future__ import annotations

from collections.abc import Callable

from teacherlm.train.outputs import throw_away
from teacherlm.train.processes import is_first, together
from teacherlm.train.progress import Progress
from teacherlm.train.request import Request, Trained, check_stages
from teacherlm.train.stages import Stages


def train(
    request: Request,
    watch: Callable[[Progress], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Run the stages of a training that are not finished.

    Args:
        watch: called after every step.
        tell: takes a line now and then.

    Raises:
        Mistake, Mistakes: something declared cannot be trained; nothing was.
        MachineFailed: memory, disk, or a loss that is no number; the last checkpoint is kept.
        Interrupted: a signal came; a checkpoint of the last step is there.
    """
    check_stages(request)
    stages = Stages(request, watch, tell if is_first() else lambda _: None)
    done = Trained(request.training.name, request.folder)
    pending = stages.pending(done)
    if pending:
        stages.ready(pending)
        # Not before: where something is wrong, what was trained earlier is still there.
        together()
        if request.restart and is_first():
            throw_away(request, [one.stage.name for one in pending])
        together()
        for one in pending:
            done.stages.append(stages.run(one))
    return done
