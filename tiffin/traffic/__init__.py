"""What keeps load in bounds: API keys, rate limits, the admission queue, circuit breakers."""
