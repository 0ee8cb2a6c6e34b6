"""One reader a format: bytes in, parts of an Outline out. They run in the child of `parse.py`."""
