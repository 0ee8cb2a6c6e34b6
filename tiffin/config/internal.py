"""Settings of the traffic between services that run separately, each at its own address."""

from typing import Annotated

from pydantic import Field, SecretStr

from tiffin.config.section import Section


class InternalSettings(Section):
    """What services that run separately share. Composed ones talk over private sockets."""

    token: Annotated[SecretStr | None, Field(min_length=16)] = None
    """Secret that every call between services over TCP sends."""

    def token_text(self) -> str | None:
        """The token in clear text, for the code that sends and checks it."""
        return self.token.get_secret_value() if self.token else None
