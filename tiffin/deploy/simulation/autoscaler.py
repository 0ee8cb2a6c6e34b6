"""The autoscaler that a simulation runs: the arithmetic and the windows of Kubernetes' HPA.

From none to one replica and back it is KEDA's: at once when a request is there, and when none was
there for the whole scale-down window.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from tiffin.config.scaling import Scaling
from tiffin.config.services import Signal

PERIOD_S = 15.0
"""Between two decisions; the HPA's own."""

TOLERANCE = 0.1
"""A ratio this close to 1 changes nothing; the HPA's own."""


@dataclass
class Autoscaler:
    """Decides from the measured signals how many replicas there should be."""

    scaling: Scaling
    signals: tuple[Signal, ...]
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)
    _asked_at: float = 0.0

    def decide(self, now: float, replicas: int, measured: dict[Signal, float]) -> int:
        """Replicas from now on. Shared signals are sums over all replicas, latencies are not."""
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
        # Up only to what was wanted all along the window, down only to what was enough all along.
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
