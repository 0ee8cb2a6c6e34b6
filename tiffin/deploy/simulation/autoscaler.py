"""The autoscaler that a simulation runs: the arithmetic and the windows of Kubernetes' HPA.

From zero to one replica and back it follows KEDA: up at once when a request arrives, down when none
arrived for the whole scale-down window.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from tiffin.config.scaling import Scaling
from tiffin.config.services import Signal

PERIOD_S = 15.0
"""The time between two decisions, as in the HPA."""

TOLERANCE = 0.1
"""A ratio this close to 1 changes nothing, as in the HPA."""


@dataclass
class Autoscaler:
    """Decides from measured signals how many replicas there should be."""

    scaling: Scaling
    signals: tuple[Signal, ...]
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)
    _asked_at: float = 0.0

    def decide(self, now: float, replicas: int, measured: dict[Signal, float]) -> int:
        """How many replicas there should be. Measured rate and queue are sums over the replicas."""
        if measured["request_rate_per_s"] > 0 or measured["queue_depth"] > 0:
            self._asked_at = now
        if self.scaling.min == 0 and now - self._asked_at >= self.scaling.scale_down_window_s:
            return 0
        if replicas == 0:
            return 1 if self._asked_at == now else 0
        wish = max(self._wish(signal, replicas, measured[signal]) for signal in self.signals)
        wish = min(max(wish, self.scaling.min, 1), self.scaling.max)
        self._wishes.append((now, wish))
        longest = max(self.scaling.scale_up_window_s, self.scaling.scale_down_window_s)
        while self._wishes[0][0] < now - longest:
            self._wishes.popleft()
        # Up only to what was wanted throughout the window, down only to what was enough throughout.
        up = min(w for at, w in self._wishes if at >= now - self.scaling.scale_up_window_s)
        down = max(w for at, w in self._wishes if at >= now - self.scaling.scale_down_window_s)
        if up > replicas:
            return min(up, max(2 * replicas, replicas + 2))
        return max(down, replicas - 1) if down < replicas else replicas

    def _wish(self, signal: Signal, replicas: int, value: float) -> int:
        target = self.scaling.signals[signal]
        if signal in ("request_rate_per_s", "queue_depth"):
            ratio = value / (target * max(1, replicas))
            wish = math.ceil(value / target)
        else:
            ratio = value / target
            wish = math.ceil(replicas * ratio)
        return replicas if abs(ratio - 1) <= TOLERANCE else wish
