"""Trains and evaluates the heads of `tiffin.safety`."""
