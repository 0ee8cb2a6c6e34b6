"""Trying a scaling specification on a trace before paying for it: `tiffin deploy simulate`."""
