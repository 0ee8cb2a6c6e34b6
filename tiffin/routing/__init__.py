"""Which LLM tier answers a request, why, and which one is next if it fails."""
