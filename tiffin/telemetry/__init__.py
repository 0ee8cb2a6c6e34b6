"""What is measured: Prometheus metrics and the stage timer of a request."""
