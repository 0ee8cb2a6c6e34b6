"""How services talk: typed structs in msgpack over the URL that BentoML gives, never pickle.

`messages` are the structs, `server` answers them inside a service, `client` calls them from
another, `clients` is one typed class per service. `wire` is what both ends agree on.
"""
