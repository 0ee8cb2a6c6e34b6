"""The models themselves: the catalogue of weights, the store, and the engines that run them.

This is the lowest floor of the house: it imports nothing else of ours.
"""
