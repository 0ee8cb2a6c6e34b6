"""The bodies that routes read and write, in the shapes that their clients already speak."""
