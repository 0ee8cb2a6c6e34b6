"""How services talk: typed structs in msgpack over the URL that BentoML gives, never pickle.

`server` answers calls inside a service, and `client` makes them from another one, over `unix` or
`tcp`. `wire` is what both ends agree on.
"""
