"""What tests share: servers that run for the length of a test, and services that misbehave."""
