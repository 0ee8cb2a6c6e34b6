"""Checks of what goes in, what is retrieved and what comes out. No torch, no HTTP, no model."""
