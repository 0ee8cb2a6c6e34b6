"""The command line: `tiffin models ...`, `tiffin plan`. Terminal input and output happen only here."""
