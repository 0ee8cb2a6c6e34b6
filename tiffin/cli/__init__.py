"""The command line: `tiffin models | router | costs`.

Terminal input and output happen here and nowhere else.
"""
