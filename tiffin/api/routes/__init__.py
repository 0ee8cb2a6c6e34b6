"""The routes of the entry service, one API a file. A route reads, calls one thing, writes."""
