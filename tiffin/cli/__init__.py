"""The command line: `tiffin models ...`. Terminal input and output happen here and nowhere else."""
