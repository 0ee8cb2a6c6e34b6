"""Trains and evaluates the router's complexity model."""
