"""What stops a training, in words for people: memory, disk, a loss that is no number, an interruption."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from teacherlm.core.errors import MachineFailed, TeacherlmError
from teacherlm.core.files import disk_failure

_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_DISK = (
    "No space left on device",
    "Disk quota exceeded",
    "inline_container.cc",
    "iostream error",
    "file write failed",
    "os error",
    "I/O error",
)
"""What safetensors and torch say; torch names its own source file, or C++'s stream."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; a checkpoint of the last step was saved."""

    def __init__(self, stage: str, step: int, steps: int) -> None:
        super().__init__(f"stopped in stage `{stage}` after step {step:,} of {steps:,}; a checkpoint is saved")
        self.stage, self.step, self.steps = stage, step, steps


class Diverged(MachineFailed):
    """A loss or gradient that is no number."""


def is_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory for something."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY)


def out_of_memory(rows: int, columns: int, device_tokens: int | None, where: str, kept: str) -> MachineFailed:
    """A batch that does not fit.

    Args:
        rows, columns: of the micro-batch.
        device_tokens: as declared; None: the whole batch at once.
        kept: what is kept, in a sentence.
    """
    half = max(1, (device_tokens or rows * columns) // 2)
    return MachineFailed(
        f"a batch of {rows:,} rows of {columns:,} tokens does not fit into memory; {kept}",
        "write  gradient_checkpointing: true  and run the same command again; or  "
        f"device_tokens: {half}  which packs the rows anew, so that the stage begins anew too: --restart",
        where,
    )


def diverged(stage: str, step: int, what: str, learning_rate: float, where: str, kept: str) -> Diverged:
    """A loss that is no number any more."""
    return Diverged(
        f"the {what} of stage `{stage}` is no number at step {step:,}, learning rate {learning_rate:.3g}; {kept}",
        "lower schedule.learning_rate, lengthen schedule.warmup, or take precision: float32; then train this stage "
        f"anew: --stages {stage} --restart",
        where,
    )


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Name what the libraries say when a disk is full: torch and safetensors have errors of their own."""
    try:
        yield
    except TeacherlmError:
        raise
    except OSError as error:
        raise disk_failure(folder, error) from error
    except Exception as error:
        if any(words in str(error) for words in _DISK):
            raise disk_failure(folder, _of_the_system(str(error))) from error
        raise


def _of_the_system(said: str) -> OSError:
    """The system's error in a library's words; safetensors ends with `(os error 27)`, torch names no number.

    >>> _of_the_system("I/O error: File too large (os error 27)")
    OSError(27, 'File too large')
    """
    if found := re.search(r"os error (\d+)", said):
        number = int(found[1])
        return OSError(number, os.strerror(number))
    return OSError(errno.EIO, said) if "I/O error" in said else OSError(errno.ENOSPC, "no space left")
