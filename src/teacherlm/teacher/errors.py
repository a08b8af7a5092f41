"""What may go wrong with a teacher; the type answers whether the same request may be sent again."""

from __future__ import annotations

from teacherlm.core.errors import RemoteFailed, TeacherlmError


class TeacherError(Exception):
    """Base of what one request to a teacher may end with."""

    reason = "fault"
    """In few words, to count by."""

    def __init__(self, message: str, *, is_doubtful: bool = False, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or self.reason
        self.is_doubtful = is_doubtful
        """The server, or what stood in its place, may have been restarted: another model may answer from now on."""


class TeacherBusy(TeacherError):
    """The teacher has no room (429, 503): ask again later, and ask less at a time. Never the row's fault."""


class TeacherFault(TeacherError):
    """This attempt failed (5xx, 424, reset, time-out, an answer that cannot be read): ask again a few times."""


class TeacherSlow(TeacherFault):
    """No answer came in time. The row's fault only where requests that were sent later have been answered: else it may
    have waited behind a long queue."""


class TeacherAway(TeacherError):
    """Nothing listens at the teacher's address: wait for it to come back. Never the row's fault."""

    reason = "not there"


class TeacherRefused(TeacherError):
    """Never ask this prompt again (400, 413, 422). Recorded on the row."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}".strip(), reason=str(status))
        self.status = status


class TeacherLost(RemoteFailed):
    """The teacher cannot be used (any more); the run stops and keeps what was answered."""


class TeacherAbsent(TeacherLost):
    """Nobody answers there, or not yet: another endpoint of the same teacher may be asked."""


def worst(group: BaseExceptionGroup[Exception]) -> Exception:
    """What stopped the run. A bug comes before this machine's failures, and those before the teacher's."""
    errors: list[Exception] = []
    for error in group.exceptions:
        errors += [worst(error)] if isinstance(error, BaseExceptionGroup) else [error]
    return max(errors, key=lambda error: error.exit_code if isinstance(error, TeacherlmError) else 5)
