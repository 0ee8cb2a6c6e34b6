"""What can be wrong about a deployment."""

from tiffin.config.section import SettingsError


class DeployError(SettingsError):
    """A deployment that cannot be; the message is one line for the operator."""
