"""The command line: the `tiffin` command and a module for each of its subcommands.

Terminal input and output happen here and nowhere else.
"""
