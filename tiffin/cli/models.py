"""`tiffin models`: list the catalogue, fetch and verify weights, quantize models."""

import shutil
from pathlib import Path

import click
from rich.table import Table

from models.added import describe
from models.catalog import Catalog, Model, load_catalog
from models.errors import WeightsError
from models.quantize import SAMPLE, TOOL, Method, entry, quantize, tool_python
from models.store import Store
from models.user_catalog import add, catalog_of, remove
from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.fits import fits_here
from tiffin.cli.progress import MB, print_table, pull_shown
from tiffin.config.settings import load_settings


@click.group()
def models() -> None:
    """List, pull and verify the weights of the catalogue."""


@models.command("list")
@json_option
def list_models(*, as_json: bool) -> None:
    """List the catalogue, and which models are in the store."""
    store = _store()
    catalog = catalog_of(load_settings().home)
    if as_json:
        rows = [_row(model, present=store.is_present(model)) for model in catalog.models]
        print_json(rows)
        return
    table = Table("name", "task", "engine", "weights", "licence", "size", "present")
    for model in catalog.models:
        table.add_row(
            model.name,
            model.task,
            model.engine,
            f"{model.format}, {model.quantization}",
            model.licence,
            f"{model.size_bytes / MB:.0f} MB",
            "yes" if store.is_present(model) else "no",
        )
    print_table(table)
    for model in catalog.models:
        if model.note:
            click.echo(f"{model.name}: {model.note}")


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--profile", help="Pull what this profile runs; by default, the current one.")
@json_option
def pull(names: tuple[str, ...], profile: str | None, *, as_json: bool) -> None:
    """Fetch, convert and verify the models named, or all that the profile runs."""
    if names and profile:
        raise click.UsageError("give either names or --profile")
    store = _store()
    chosen = _chosen(catalog_of(load_settings().home), names or _profile_models(profile))
    for model in chosen:
        pull_shown(store, model)
    if as_json:
        print_json([{"name": model.name, "path": store.path(model)} for model in chosen])


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
def verify(names: tuple[str, ...], *, as_json: bool) -> None:
    """Check every digest of the models named, or of all in the store."""
    store, catalog = _store(), catalog_of(load_settings().home)
    wrong: dict[str, str | None] = {}
    for model in _chosen(catalog, names) or [m for m in catalog.models if store.holds(m)]:
        try:
            store.verify(model)
        except WeightsError as error:
            wrong[model.name] = str(error)
            click.echo(f"Error: {error}", err=True)
        else:
            wrong[model.name] = None
            click.echo(f"{model.name}: verified", err=True)
    if as_json:
        print_json([{"name": name, "error": error} for name, error in wrong.items()])
    if any(wrong.values()):
        raise SystemExit(1)


@models.command("add")
@click.argument("what", metavar="ORG/NAME|FILE.gguf|FOLDER|SHORT:NAME")
@click.option("--as", "name", help="Its name here; by default, that of the repository or file.")
@json_option
def add_model(what: str, name: str | None, *, as_json: bool) -> None:
    """Add a model to your catalogue: a hub's repository, a GGUF file, or a folder.

    A repository may end in @REVISION, and one of GGUF files in :QUANTIZATION, such as :Q4_K_M.
    Short names are like Ollama's: qwen3:8b or llama3.1:8b-instruct-q4_K_M.
    """
    home = load_settings().home
    model = describe(what, name)
    if any(ours.name == model.name for ours in load_catalog().models):
        message = f"Tiffin's own catalogue has the name {model.name}; choose another with --as"
        raise WeightsError(message)
    add(home, model)
    if as_json:
        print_json({**_row(model, present=False), "fits": fits_here(model)})
        return
    row = f"{model.task}, {model.engine}, {model.quantization}, licence {model.licence}"
    click.echo(f"{model.name}: {row}, {model.size_bytes / MB:.0f} MB")
    click.echo(fits_here(model))
    click.echo(f"fetch it: tiffin models pull {model.name}")


@models.command("remove")
@click.argument("name")
@json_option
def remove_model(name: str, *, as_json: bool) -> None:
    """Take a model out of your catalogue, and its files out of the store."""
    home = load_settings().home
    remove(home, name)
    shutil.rmtree(home / "models" / name, ignore_errors=True)
    if as_json:
        print_json({"removed": name})
    else:
        click.echo(f"{name}: removed")


@models.command("quantize")
@click.argument("name")
@click.option("--method", type=click.Choice(["w4a16", "gptq", "fp8"]), default="gptq")
@click.option("--as", "new_name", help="Name of the result; by default NAME-METHOD.")
@click.option(
    "--text",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=SAMPLE,
    help="Its first half calibrates, its second half measures.",
)
@json_option
def quantize_model(
    name: str, method: Method, new_name: str | None, text: Path, *, as_json: bool
) -> None:
    """Quantize a vLLM model of plain weights to fewer bits and add it to your catalogue."""
    home = load_settings().home
    model = catalog_of(home).get(name)
    if model.engine != "vllm" or model.scheme.engine_name:
        message = f"{name} is {model.quantization} for {model.engine}: quantize plain vllm weights"
        raise WeightsError(message)
    result = new_name or f"{name}-{method}"
    target = home / "quantized" / result
    if target.exists():
        raise WeightsError(f"{target} exists already: remove it, or choose another name with --as")
    source = Store(home).path(model)
    click.echo(f"{TOOL} runs in an environment of its own; installing it takes minutes", err=True)
    try:
        loss = quantize(tool_python(home), source, target, method, text)
        made = entry(model, result, target, method, loss)
        add(home, made)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    pull_shown(Store(home), made)
    if as_json:
        print_json(_row(made, present=True))
    else:
        click.echo(f"{result}: {made.size_bytes / MB:.0f} MB; {made.note}")


def _store() -> Store:
    return Store(load_settings().home)


def _profile_models(profile: str | None) -> list[str]:
    settings = load_settings(profile=profile) if profile else load_settings()
    return settings.models()


def _chosen(catalog: Catalog, names: tuple[str, ...] | list[str]) -> list[Model]:
    return [catalog.get(name) for name in names]


def _row(model: Model, *, present: bool) -> dict[str, object]:
    row = model.model_dump(mode="json", exclude={"files", "sources"})
    return {**row, "size_bytes": model.size_bytes, "present": present}
