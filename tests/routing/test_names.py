"""What a client may write in `model`."""

import pytest

from tiffin.core.errors import NotFound
from tiffin.routing.names import routed_name

MODELS = {"small": "tiny-135m", "large": "big-70b"}
POLICIES = ["auto", "auto-fast", "thrifty"]


@pytest.mark.parametrize(
    ("model", "routed"),
    [
        *[("auto", "auto"), ("thrifty", "thrifty"), ("small", "small"), ("big-70b", "large")],
        *[("dummy", "auto"), ("tgi", "auto")],  # huggingface_hub's, for no name
    ],
)
def test_a_policy_stays_a_model_means_its_tier_and_no_name_means_auto(
    model: str, routed: str
) -> None:
    assert routed_name(model, MODELS, POLICIES) == routed


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(NotFound, match=r"'huge'.*auto, .*thrifty, small, large, tiny-135m"):
        routed_name("huge", MODELS, POLICIES)
