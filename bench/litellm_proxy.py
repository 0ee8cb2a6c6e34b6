"""LiteLLM's proxy as a peer, in an environment that is made for it and thrown away.

It is never a dependency of ours: two of its releases carried malware.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bench.peers import install
from bench.serving import server

VERSION = "1.108.7"

_CONFIG = """
model_list:
  - model_name: small
    litellm_params: {{model: openai/weightless, api_base: "http://127.0.0.1:{port}/v1", api_key: x}}
"""

_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    # Without keys, as we measure ourselves; it listens for this benchmark only.
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}


@contextmanager
def litellm_proxy(folder: Path, port: int, upstream_port: int) -> Generator[int, None, None]:
    """Install it into `folder`, start it, give the process's id, stop it."""
    install(folder, f"litellm[proxy]=={VERSION}")
    config = folder / "config.yaml"
    config.write_text(_CONFIG.format(port=upstream_port))
    command: list[str | Path] = [folder / "bin" / "litellm", "--config", config]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    ready = f"http://127.0.0.1:{port}/health/liveliness"
    with server(folder, command, ready, **_ENVIRONMENT) as pid:
        yield pid
