"""The command line: `tiffin models | plan`. Terminal input and output happen here alone."""
