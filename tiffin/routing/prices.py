"""What an answer costs. Amounts are US dollars."""

from dataclasses import dataclass

from models.values import TokenUsage

MTOK = 1e6
HOUR_S = 3600.0


@dataclass(frozen=True)
class Price:
    """A tier's price, with defaults filled in for what the settings leave out."""

    input_usd_per_mtok: float
    cached_input_usd_per_mtok: float
    cache_write_usd_per_mtok: float
    output_usd_per_mtok: float
    gpu_usd_per_hour: float

    def usd(self, usage: TokenUsage, gpu_s: float = 0.0) -> float:
        """The cost of an answer of these tokens that kept the GPUs busy for `gpu_s` seconds."""
        plain = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
        per_mtok = (
            plain * self.input_usd_per_mtok
            + usage.cached_tokens * self.cached_input_usd_per_mtok
            + usage.cache_write_tokens * self.cache_write_usd_per_mtok
            + usage.completion_tokens * self.output_usd_per_mtok
        )
        return per_mtok / MTOK + gpu_s * self.gpu_usd_per_hour / HOUR_S
