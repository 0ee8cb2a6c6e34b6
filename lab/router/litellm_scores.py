"""What LiteLLM's trained complexity router says of queries, as a baseline for `lab.router.domains`.

    .venv-litellm/bin/python lab/router/litellm_scores.py < queries.json > scores.json

Its environment is one of its own (`make compat-setup`), because LiteLLM must not be near Tiffin's.
`classifier_type: heuristic_v2` asks this predictor, whose statistics are of UltraFeedback. The
score is 1 less the probability that the cheapest of its tiers succeeds.
"""

import json
import sys

from litellm.router_strategy.adaptive_router.classifier import classify_prompt
from litellm.router_strategy.complexity_router.tier_predictor import (
    TierSuccessPredictor,
    resolve_tier_artifact,
)

predictor = TierSuccessPredictor(resolve_tier_artifact("ultrafeedback"))
queries = json.load(sys.stdin)
scores = [
    1 - predictor.predict(query, classify_prompt(query)).probabilities[1] for query in queries
]
json.dump(scores, sys.stdout)
