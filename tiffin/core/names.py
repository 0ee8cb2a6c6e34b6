"""The names of the routing policies that are there without being set."""

AUTO, AUTO_FAST, AUTO_QUALITY = "auto", "auto-fast", "auto-quality"
