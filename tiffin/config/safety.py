"""The settings of safety: what is checked on which route, and what follows from a finding.

The policy of a part (input, passages, output) names an action for each check; a check that it does
not name does not run and costs nothing.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tiffin.config.section import Section

Check = Literal["injection", "toxicity", "personal_data", "secrets"]
Action = Literal["log", "mark", "redact", "block"]
Policy = dict[Check, Action]

HEADS_READ = "all-minilm-l6-v2"
"""The embedding model that the trained heads are for, by its name in the catalogue."""

ACTIONS: tuple[Action, ...] = ("log", "mark", "redact", "block")
"""The mildest first."""


def _policy(action: Action) -> Policy:
    return {"injection": action}


class ChatSafety(Section):
    """The OpenAI routes that generate. As variables, JSON: `{"injection": "block"}`."""

    input: Policy = Field(default_factory=dict)
    """Checks of what the user and tools say, each with `log`, `mark`, `redact` or `block`."""
    output: Policy = Field(default_factory=dict)
    """Checks of each sentence that a model writes."""

    @model_validator(mode="after")
    def _check_redaction(self) -> Self:
        for check in ("injection", "toxicity"):
            if self.input.get(check) == "redact":
                raise ValueError(f"input: {check} has no part to redact; use block, mark or log")
        return self


class RagSafety(ChatSafety):
    """Questions over documents."""

    input: Policy = Field(default_factory=lambda: _policy("mark"))
    """Checks of the question."""
    passages: Policy = Field(default_factory=lambda: _policy("mark"))
    """Checks of the passages found; `redact` leaves a passage out, `block` refuses the question."""


class TenantSafety(Section):
    """Policies of one tenant; each that is named stands in place of the common one."""

    rag: RagSafety | None = None
    """Questions over documents."""
    chat: ChatSafety | None = None
    """The OpenAI routes that generate."""


class ModeratorSettings(Section):
    """Who judges `toxicity`: an endpoint in the shape of OpenAI's `/v1/moderations`, or a tier."""

    tier: str | None = None
    """An LLM tier with a guard model, such as Llama Guard or Granite Guardian; the fields of the
    endpoint do not matter then."""
    instructions: str | None = None
    """What the tier's model is told first, if its chat template does not ask for a verdict by
    itself. It must answer `safe` or `unsafe`, or `yes` (unsafe) or `no`, and nothing more."""

    base_url: Annotated[str, Field(pattern="^https?://")] = "https://api.openai.com/v1"
    """Where `/moderations` is."""
    model: Annotated[str, Field(min_length=1)] = "omni-moderation-latest"
    """The endpoint's name for the model."""
    key_env: str | None = "OPENAI_API_KEY"
    """Environment variable with the key; null if the endpoint needs none."""


class SafetySettings(Section):
    """The Safety service, and what is asked of it."""

    enabled: bool = True
    """Whether the service runs. Without it nothing is checked."""
    rag: RagSafety = RagSafety()
    chat: ChatSafety = ChatSafety()
    tenants: dict[str, TenantSafety] = Field(default_factory=dict)
    """Policies of single tenants, by name. As a variable, JSON:
    `{"acme": {"chat": {"input": {"injection": "block"}}}}`."""
    false_positives: Annotated[float, Field(ge=0.001, le=0.1)] = 0.002
    """Share of harmless texts that a trained check may flag."""
    timeout_ms: Annotated[int, Field(ge=1, le=600_000)] = 500
    """Longest wait for one check; then the policy decides without it."""
    moderator: ModeratorSettings | None = None
    """Who judges `toxicity` in place of our own heads; every text that is checked for it is sent
    there. `{}` means OpenAI."""
