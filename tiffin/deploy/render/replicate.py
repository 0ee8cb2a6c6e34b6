"""Replicate: a Cog project whose runner starts the composed Bento beside itself.

Replicate scales a deployment on its own queue, between the entry service's `min` and `max`. It
takes no targets and windows, so the files have none.
"""

import json

from tiffin.config.section import SettingsError
from tiffin.deploy.render.plan import Plan, to_yaml

COMMENT = """\
Made by `tiffin deploy render --target replicate`: change the profile, render again.
Put beside this file, then `cog push`:
    bentoml export {bento} bento.tar
    sed -n 's/^\\([a-z][^\\]*\\).*/\\1/p' requirements/{requirements} > requirements.txt"""

RUN = '''\
"""Made by `tiffin deploy render --target replicate`: one question of the RAG API a prediction."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

from cog import BaseRunner, Input

URL = "http://127.0.0.1:3000"
START_LIMIT_S = {start_limit_s}


class Runner(BaseRunner):
    """Starts Tiffin once, then asks it."""

    def setup(self) -> None:
        """Serve the Bento on loopback and wait until it is ready."""
        subprocess.run(["bentoml", "import", "bento.tar"], check=True)
        command = ["bentoml", "serve", "{bento}", "--host", "127.0.0.1", "--port", "3000"]
        environment = {{**os.environ, **{variables}}}
        self.server = subprocess.Popen(command, env=environment)
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                urllib.request.urlopen(URL + "/readyz", timeout=5).close()
                return
            except (urllib.error.URLError, TimeoutError):
                if self.server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def run(
        self,
        query: str = Input(description="The question."),
        documents: str = Input(description="A JSON list of texts to answer from."),
    ) -> str:
        """The answer of /rag_query, as JSON."""
        body = json.dumps({{"query": query, "documents": json.loads(documents)}}).encode()
        headers = {{"content-type": "application/json"}}
        request = urllib.request.Request(URL + "/rag_query", body, headers)
        with urllib.request.urlopen(request, timeout=600) as response:
            return response.read().decode()
'''


def render(plan: Plan) -> dict[str, str]:
    """The files, by their paths."""
    if plan.all_secrets:
        needed = ", ".join(plan.all_secrets)
        message = f"Replicate gives a model no secret, and profile {plan.settings.profile} needs "
        raise SettingsError(message + needed)
    gpu = plan.gpus_together() > 0
    requirements = "bento-gpu.txt" if gpu else "bento.txt"
    cog = {
        "build": {
            "gpu": gpu,
            "python_version": "3.11",
            "python_requirements": "requirements.txt",
        },
        "run": "run.py:Runner",
    }
    deployment = {
        "name": plan.name,
        "hardware": "gpu-l40s" if gpu else "cpu",
        "min_instances": plan.entry.min,
        "max_instances": plan.entry.max,
    }
    start_limit_s = int(10 * max(scaling.start_s for scaling in plan.services.values()))
    comment = COMMENT.format(bento=plan.bento, requirements=requirements)
    return {
        "cog.yaml": to_yaml(cog, comment=comment),
        "run.py": RUN.format(
            bento=plan.bento, variables=json.dumps(plan.variables), start_limit_s=start_limit_s
        ),
        # For POST https://api.replicate.com/v1/deployments, beside `model` and `version`.
        "deployment.json": json.dumps(deployment, indent=2) + "\n",
    }
