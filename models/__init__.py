"""The models themselves: which weights there are (catalogue) and what runs them (engines).

The ground floor of the house: it imports nothing else of ours.
"""
