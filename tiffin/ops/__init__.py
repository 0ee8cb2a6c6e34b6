"""What keeps it running: settings, metrics, readiness, admission."""
