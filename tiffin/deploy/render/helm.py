"""A Helm chart with the manifests of `tiffin.deploy.render.kubernetes`, for `--helm DIR`.

The manifests are rendered for a release and a namespace with names of our own, which Helm's take
the place of. What an operator changes from one cluster to the next is a value; all else, the
settings first, is rendered, because what a pod may reach depends on it.
"""

import json
from dataclasses import replace
from typing import Any

from tiffin import __version__
from tiffin.config.services import BY_NAME
from tiffin.deploy.render.kubernetes import COMMENT, HPA, KEDA, autoscalers, base, prepared, scales
from tiffin.deploy.render.plan import Plan, slug, to_yaml
from tiffin.deploy.render.pod import Manifest

RELEASE, NAMESPACE = "qq-release", "qq-namespace"
"""They stand for Helm's names, and occur nowhere else."""
NAMES = {
    RELEASE: "{{ .Release.Name }}",
    NAMESPACE: "{{ .Release.Namespace }}",
    # In the name of a metric.
    RELEASE.replace("-", "_"): '{{ .Release.Name | replace "-" "_" }}',
    NAMESPACE.replace("-", "_"): '{{ .Release.Namespace | replace "-" "_" }}',
}
COMPONENT = "app.kubernetes.io/component"
SERVICES = {slug(name): name for name in BY_NAME}

Place = tuple[str | int, ...]
_POD: Place = ("spec", "template", "spec")
_CONTAINER: Place = (*_POD, "containers", 0)
_RESOURCES: Place = (*_CONTAINER, "resources")
PLACES: tuple[tuple[str, str, Place], ...] = (
    ("Deployment", "image", (*_CONTAINER, "image")),
    ("Deployment", "services.{}.cpu", (*_RESOURCES, "requests", "cpu")),
    ("Deployment", "services.{}.memory", (*_RESOURCES, "requests", "memory")),
    ("Deployment", "services.{}.memory", (*_RESOURCES, "limits", "memory")),
    ("ScaledObject", "services.{}.min", ("spec", "minReplicaCount")),
    ("ScaledObject", "services.{}.max", ("spec", "maxReplicaCount")),
    ("HorizontalPodAutoscaler", "services.{}.min", ("spec", "minReplicas")),
    ("HorizontalPodAutoscaler", "services.{}.max", ("spec", "maxReplicas")),
    ("PersistentVolumeClaim", "storage", ("spec", "resources", "requests", "storage")),
    ("Ingress", "host", ("spec", "rules", 0, "host")),
    ("Ingress", "host", ("spec", "tls", 0, "hosts", 0)),
    ("Ingress", "tlsSecret", ("spec", "tls", 0, "secretName")),
    ("Ingress", "ingressClass", ("spec", "ingressClassName")),
    ("Gateway", "host", ("spec", "listeners", 0, "hostname")),
    ("Gateway", "tlsSecret", ("spec", "listeners", 0, "tls", "certificateRefs", 0, "name")),
    ("Gateway", "gatewayClass", ("spec", "gatewayClassName")),
    ("HTTPRoute", "host", ("spec", "hostnames", 0)),
)
"""What is a value: the kind, the value's name (`{}` is the service) and where it stands."""


def chart(plan: Plan) -> dict[str, str]:
    """The files of the chart, by their paths. Raises SettingsError as the plain files do."""
    plan = prepared(plan)
    named = replace(plan, name=RELEASE, cluster=replace(plan.cluster, namespace=NAMESPACE))
    values: dict[str, Any] = {"autoscaler": KEDA if plan.cluster.scaled else "none"}
    scalers = autoscalers(named)
    # KEDA's come before the HPAs: they know that a service may sleep.
    templates = {f"{kind}.yaml": _if(kind, _text(its, values)) for kind, its in scalers.items()}
    for file, documents in base(named).items():
        templates[file] = _text(documents, values)
    templates["deployments.yaml"] = _with_replicas(plan, templates["deployments.yaml"])
    about = {
        "apiVersion": "v2",
        "name": "tiffin",
        "description": "Every model of a RAG application in one Bento.",
        "version": __version__,
        "appVersion": __version__,
    }
    files = {f"templates/{file}": f"# {COMMENT}\n{text}" for file, text in templates.items()}
    return {
        "Chart.yaml": to_yaml(about, comment=COMMENT),
        "values.yaml": to_yaml(values, comment=f"{COMMENT}\nautoscaler: {KEDA}, {HPA} or none"),
        **files,
    }


def _text(documents: list[Manifest], values: dict[str, Any]) -> str:
    """The template of manifests; their values are noted in `values`."""
    references: dict[str, str] = {}
    for document in documents:
        for kind, name, place in PLACES:
            if document["kind"] == kind:
                _refer(document, name, place, values, references)
    text = to_yaml(*documents).replace("{{", '{{ "{{" }}')
    for token, expression in {**references, **NAMES}.items():
        text = text.replace(token, expression)
    return text


def _refer(
    document: Manifest, name: str, place: Place, values: dict[str, Any], references: dict[str, str]
) -> None:
    """Put a token in the place of a value, and say which expression the token stands for."""
    inner: Any = document
    for step in place[:-1]:
        inner = inner[step]
    value = inner[place[-1]]
    service = SERVICES[document["metadata"]["labels"][COMPONENT]]
    path = name.format(service)
    note = values
    *groups, last = path.split(".")
    for group in groups:
        note = note.setdefault(group, {})
    note.setdefault(last, value)
    reference = f".Values.{path}"
    if place[-1] == "minReplicas":
        expression = f"max 1 (int {reference})"
    else:
        expression = reference if isinstance(value, int) else f"{reference} | quote"
    token = f"qq{path.replace('.', '-')}-{place[-1]}qq"
    references[token] = f"{{{{ {expression} }}}}"
    inner[place[-1]] = token


def _if(kind: str, text: str) -> str:
    return f"{{{{- if eq .Values.autoscaler {json.dumps(kind)} }}}}\n{text}{{{{- end }}}}\n"


def _with_replicas(plan: Plan, text: str) -> str:
    """The Deployments; what an autoscaler would scale says its replicas if there is none."""
    documents = text.split("\n---\n")
    for place, name in enumerate(plan.services):
        if scales(plan, name):
            count = f"replicas: {{{{ max 1 (int .Values.services.{name}.min) }}}}"
            lines = f'{{{{- if eq .Values.autoscaler "none" }}}}\n  {count}\n{{{{- end }}}}'
            documents[place] = documents[place].replace("\nspec:\n", f"\nspec:\n{lines}\n", 1)
    return "\n---\n".join(documents)
