"""What replicas of the entry service must share, and what one replica keeps on a volume.

The ledger, kept answers and corpora are the only state of Tiffin. Two replicas that each had their
own would count half of what a cap allows, give an answer again that was removed from the other, and
not know each other's documents, so that is refused (docs/decisions/0087, 0111).
"""

from tiffin.config.section import SettingsError
from tiffin.config.services import ENTRY
from tiffin.config.settings import Settings
from tiffin.deploy.render.carried import CORPORA, LEDGER
from tiffin.deploy.render.plan import Plan

FOLDER = "/var/lib/tiffin"
"""Where the one replica has its volume."""
REMEDIES = {
    "ledger": f"set {LEDGER}=postgresql://USER@HOST/DATABASE",
    "cache": "set TIFFIN_CACHE__REDIS=redis://HOST:6379/0",
    "corpora": f"set {CORPORA}=postgresql://USER@HOST/DATABASE and TIFFIN_CHUNKS=s3://BUCKET/PREFIX"
    " (or give --without-corpora)",
}
ONE = """set TIFFIN_SCALING='{"RAG": {"max": 1}}' for one replica with a volume"""


def own_state(settings: Settings) -> list[str]:
    """What a replica of the entry service would keep for itself."""
    cache = settings.cache
    has = {
        "ledger": "://" not in settings.ledger_at(),
        "cache": cache.redis is None and (cache.exact or cache.semantic),
        "corpora": settings.corpora_database is None,
    }
    return [what for what, alone in has.items() if alone]


def check_shared(plan: Plan) -> None:
    """Raise SettingsError if several replicas of the entry service would not share their state."""
    alone = [w for w in own_state(plan.settings) if w != "corpora" or plan.cluster.corpora]
    if plan.entry.max > 1 and alone:
        message = f"up to {plan.entry.max} replicas of {ENTRY} would each have their own "
        remedies = ", ".join(REMEDIES[what] for what in alone)
        raise SettingsError(f"{message}{', '.join(alone)}: {remedies}; or {ONE}")


def on_a_volume(plan: Plan) -> dict[str, str]:
    """The variables of the one replica that keeps state on a volume; empty if none does."""
    if plan.entry.max > 1:
        return {}
    alone = own_state(plan.settings)
    return {
        **({LEDGER: f"{FOLDER}/ledger.sqlite3"} if "ledger" in alone else {}),
        **({CORPORA: f"{FOLDER}/corpora"} if plan.cluster.corpora and "corpora" in alone else {}),
    }
