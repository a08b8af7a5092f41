"""Where teachers listen; embedded ones are served for as long as they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from teacherlm.api.catalog import ChosenTeacher


@contextmanager
def listening(teachers: Sequence[ChosenTeacher], tell: Callable[[str], None]) -> Iterator[dict[str, tuple[str, ...]]]:
    """The URLs of each teacher by its name; embedded ones are served while the block runs, each model once."""
    urls: dict[str, tuple[str, ...]] = {}
    served: dict[str, str] = {}
    with ExitStack() as stack:
        for teacher in teachers:
            model = teacher.profile.embedded or "nano"
            if teacher.profile.endpoints:
                urls[teacher.name] = teacher.profile.endpoints
                continue
            if model not in served:
                from teacherlm.teacher.embedded import EmbeddedTeacher

                tell(f"starting the embedded teacher {model}")
                served[model] = stack.enter_context(EmbeddedTeacher(model)).url
            urls[teacher.name] = (served[model],)
        yield urls
