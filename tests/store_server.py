"""An S3 server on loopback, and its keys in the environment."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BUCKET = "bucket"
SECRET = "loopback-secret-key"


@contextmanager
def s3_server() -> Iterator[str]:
    """The URL of an empty bucket, for this process and those that it starts."""
    import fsspec
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "loopback-key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").clear_instance_cache()
        with contextlib.suppress(FileExistsError):  # moto's servers of one process share what they hold
            fsspec.filesystem("s3").mkdir(BUCKET)
        try:
            yield f"s3://{BUCKET}"
        finally:
            server.stop()
