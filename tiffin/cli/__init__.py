"""The command line: `tiffin models | plan | deploy | router | costs | keys | settings`.

Terminal input and output happen here and nowhere else.
"""
