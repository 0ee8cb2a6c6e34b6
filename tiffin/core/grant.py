"""What a key allows its holder: which models, and how much money.

`tiffin.api.middleware.access` takes it from the key's file and puts it into the request's context;
`tiffin.gateway` checks the model, and the routing policy the tiers and the money.
"""

from typing import Literal

import msgspec

Budget = Literal["key_day", "key_month", "tenant_day", "tenant_month"]


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """`models` are the names that may be asked for, and `tiers` those that may answer; None: all.

    A policy's name, such as `auto`, is a model; which tiers it may choose is said by `tiers`.
    `budgets` are US dollars for a UTC day or month; one that is not there is no limit.
    """

    models: list[str] | None = None
    tiers: list[str] | None = None
    budgets: dict[Budget, float] = {}


EVERYTHING = Grant()
"""The grant of a request without a key, on a server that asks for none."""
