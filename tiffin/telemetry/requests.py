"""Counts each request of the entry service as it ends: by route, by status and by tenant.

Called by `tiffin.api.middleware.access_log`, which sees every request and how it ended.
"""

from http import HTTPStatus
from typing import NamedTuple

from prometheus_client import Counter, Histogram

from tiffin.core.context import Bill
from tiffin.core.errors import TiffinError
from tiffin.telemetry import metrics
from tiffin.telemetry.metrics import series

requests_total = Counter(
    "tiffin_requests_total",
    "Requests by route and status; 499 is one whose client left before it was answered.",
    ["route", "status"],
)
request_seconds = Histogram(
    "tiffin_request_seconds",
    "From a request's head to the end of its answer.",
    ["route"],
    buckets=metrics.SECONDS,
)
errors_total = Counter(
    "tiffin_errors_total",
    "Requests refused or failed, by the code that the client read: a limit, a cap, a mistake.",
    ["code"],
)
tenant_requests_total = Counter(
    "tiffin_tenant_requests_total",
    "Requests of a tenant: ok, refused (4xx), cancelled or failed (5xx).",
    ["tenant", "outcome"],
)
tenant_seconds = Histogram(
    "tiffin_tenant_seconds",
    "From a tenant's request to the end of its answer.",
    ["tenant"],
    buckets=(0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
tenant_tokens_total = Counter(
    "tiffin_tenant_tokens_total",
    "Tokens of a tenant that LLMs read and wrote and encoders read.",
    ["tenant"],
)
tenant_cost_usd_total = Counter(
    "tiffin_tenant_cost_usd_total", "US dollars of a tenant's attempts.", ["tenant"]
)

TENANTS_SHOWN = 100
"""So many tenants have series of their own, the first that come; the others share `OTHERS`. A
tenant has up to 16 series, and every one is kept until the process ends."""

OTHERS = "(others)"
"""No tenant's name: a name has no brackets."""

CLIENT_CLOSED = 499
"""The status of a request whose client left before its answer was whole, as nginx has it."""

_shown: set[str] = set()


class Ended(NamedTuple):
    """A request that has ended. `error` is what its client read, `bill` is None if it had none."""

    route: str
    status: int
    tenant: str
    bill: Bill | None
    error: TiffinError | None
    took_s: float


def observe(ended: Ended) -> str:
    """Count a request: it was `ok`, `refused`, `failed` or `cancelled`."""
    route, status, tenant, bill, error, took_s = ended
    outcome = outcome_of(status, error)
    series(requests_total, route, str(status)).inc()
    series(request_seconds, route).observe(took_s)
    if error is not None and status != CLIENT_CLOSED:
        series(errors_total, error.code or error.type).inc()
    tenant = _shown_as(tenant)
    series(tenant_requests_total, tenant, outcome).inc()
    series(tenant_seconds, tenant).observe(took_s)
    if bill is not None and (tokens := bill.tokens + bill.encoded_tokens):
        series(tenant_tokens_total, tenant).inc(tokens)
        if usd := bill.usd:
            series(tenant_cost_usd_total, tenant).inc(usd)
    return outcome


def outcome_of(status: int, error: TiffinError | None) -> str:
    """How a request ended. A stream may fail after its status was sent."""
    if status == CLIENT_CLOSED:
        return "cancelled"
    if error is not None:
        status = max(status, error.status)
    if status >= HTTPStatus.BAD_REQUEST:
        return "failed" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "refused"
    return "ok"


def _shown_as(tenant: str) -> str:
    if tenant in _shown:
        return tenant
    if len(_shown) >= TENANTS_SHOWN:
        return OTHERS
    _shown.add(tenant)
    return tenant
