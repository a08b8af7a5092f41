"""The command that serves: a model behind text-generation-inference's protocol."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from teacherlm.cli import options

app = typer.Typer()

KEY = "TEACHERLM_SERVE_API_KEY"


@app.command(rich_help_panel=options.SERVE, epilog="Example: teacherlm serve nano --port 8080")
def serve(
    model: Annotated[str, typer.Argument(help="nano, a local folder, or a Hub id.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a Hub model.", show_default="main")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …, or auto.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto.")] = "auto",
    max_concurrent_requests: Annotated[int, typer.Option(help="More are refused with 429.")] = 128,
    max_batch_size: Annotated[
        int | None,
        typer.Option(help="Requests generated together.", show_default="32; 128 for a small model on the CPU"),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar=KEY, help="Key that clients must send.", show_default=False)
    ] = None,
) -> None:
    """Serve a model with text-generation-inference's protocol, on the CPU or a GPU."""
    from teacherlm.teacher.embedded import READY
    from teacherlm.teacher.server.run import serve as run_server

    def announce(url: str) -> None:
        sys.stdout.write(f"{READY}{url}\n")
        sys.stdout.flush()

    run_server(
        model,
        host=host,
        port=port,
        revision=revision,
        device=device,
        dtype=dtype,
        max_concurrent_requests=max_concurrent_requests,
        max_batch_size=max_batch_size,
        api_key=api_key,
        announce=announce,
    )
