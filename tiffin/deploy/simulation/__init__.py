"""Tries the scaling of a profile on a trace before anyone pays for it: `tiffin deploy simulate`."""
