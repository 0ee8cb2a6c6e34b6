"""The settings, the profiles, and the one table of services that both are checked against."""
