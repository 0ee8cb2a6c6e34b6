"""The stages of a question, one a file. `tiffin.gateway` puts them in order."""
