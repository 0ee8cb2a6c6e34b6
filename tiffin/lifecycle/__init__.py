"""How a service starts, stays ready and ends: readiness, drain, supervision."""
