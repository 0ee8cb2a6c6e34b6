"""Documents of a corpus: how they are read, cut into chunks, stored and searched."""
