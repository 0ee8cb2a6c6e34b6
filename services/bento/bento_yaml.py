"""The description of the Bento that this file is inside of, if it is inside of one.

Why: a Bento carries the weights of one profile, and must be served with that profile. BentoML gives
a service its Bento only once the service is built, and the services depend on the profile.

Upstream: not reported. That `bento.yaml` lies beside the folder `src` of a Bento's sources is
BentoML's layout, not its interface.
"""

from pathlib import Path

import yaml

PROFILE_LABEL = "tiffin.profile"
"""The label of a Bento that names the profile whose weights it carries."""


def profile(source: Path = Path(__file__).parents[2]) -> str | None:
    """The profile that a Bento was built for, by the folder of its sources; None in a clone."""
    description = source.parent / "bento.yaml"
    if not description.is_file():
        return None
    labels = yaml.safe_load(description.read_text()).get("labels") or {}
    found: str | None = labels.get(PROFILE_LABEL)
    return found
