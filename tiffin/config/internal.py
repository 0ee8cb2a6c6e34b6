"""Settings of the traffic between services that run apart, each behind an address of its own."""

from typing import Annotated

from pydantic import Field, SecretStr

from tiffin.config.section import Section


class InternalSettings(Section):
    """What the services of a split Tiffin share. Composed, they talk over private sockets."""

    token: Annotated[
        SecretStr | None,
        Field(min_length=16, description="Every call between services over TCP carries it."),
    ] = None

    def token_text(self) -> str | None:
        """The token in the clear, for those that send and check it."""
        return self.token.get_secret_value() if self.token else None
