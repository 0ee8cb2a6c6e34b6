"""The leaf of the application: what a request carries, how it fails, what it costs."""
