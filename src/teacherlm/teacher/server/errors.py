"""What a request can fail of, with TGI's status, type and wording."""

from __future__ import annotations


class Refusal(Exception):
    """An answer that is no text: `{"error", "error_type"}` with a status."""

    status = 500
    kind = "incomplete_generation"

    def __init__(self, message: str, *, kind: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if kind is not None:
            self.kind = kind


class Invalid(Refusal):
    """422: something in the request is not allowed. Asking again gives the same."""

    status = 422
    kind = "validation"

    def __init__(self, message: str) -> None:
        super().__init__(f"Input validation error: {message}")


class Unsupported(Refusal):
    """422 with a type of its own: templates, tools, client batches."""

    status = 422


class GenerationFailed(Refusal):
    """424: the model failed while it wrote."""

    status = 424
    kind = "generation"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Request failed during generation: {reason}")


class Overloaded(Refusal):
    """429: every slot is held. Given at once, without waiting."""

    status = 429
    kind = "overloaded"

    def __init__(self) -> None:
        super().__init__("Model is overloaded")


class Unreadable(Exception):
    """A body that is no request at all: plain text, as TGI's web framework (axum) answers it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
