"""What an earlier version wrote is read by this one."""
