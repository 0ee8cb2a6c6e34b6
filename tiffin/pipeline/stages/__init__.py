"""The stages of a question, one a file. `tiffin.composition` puts them in order."""
