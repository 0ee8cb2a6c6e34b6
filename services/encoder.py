"""What the two encoder services share: an engine, and the batches by tokens in front of it."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import bentoml
import numpy as np
from numpy.typing import NDArray

from models.engines.protocol import EncoderEngine
from services import hosting
from tiffin.config.serving import EncoderSettings
from tiffin.core.messages import ServiceHealth
from tiffin.traffic.batching import TokenBatcher
from tiffin.transport.server import RpcApp


class Encoder:
    """Inherited, because BentoML finds hooks on the class. `sample` is an input of the engine."""

    rpc: ClassVar[RpcApp]
    section: ClassVar[EncoderSettings]
    sample: ClassVar[Any]

    def __init__(self, make: Callable[..., EncoderEngine[Any, Any]]) -> None:
        from models.engines.cores import free_cores

        section = self.section
        self.engine = make(
            hosting.weights(section.model),
            device=section.device,
            threads=section.threads or free_cores(section.workers),
        )
        self.batcher: TokenBatcher[Any, Any] = TokenBatcher(
            self.engine.tokenize,
            self.engine.run,
            max_batch_tokens=section.max_batch_tokens,
            max_queue_tokens=section.max_queue_tokens,
        )

    @bentoml.on_startup
    async def warm_up(self) -> None:
        """Run the model once, so that the first request finds everything loaded."""
        await self.batcher.submit([self.sample])
        self.rpc.health(self.health)
        hosting.log_ready(type(self).__name__)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Fail the requests that still wait."""
        await self.batcher.close()

    async def encode(
        self, inputs: Sequence[Any], *, truncate: bool
    ) -> tuple[NDArray[np.float32], int, list[int]]:
        """The engine's rows in the order of the inputs, the tokens read, and which were cut."""
        cut: list[int] = []

        def tokenize(inputs: Sequence[Any]) -> list[Any]:
            values = (self.engine.tokenize if truncate else self.engine.tokenize_whole)(inputs)
            cut.extend(index for index, value in enumerate(values) if value.cut)
            return values

        rows, tokens = await self.batcher.submit(inputs, tokenize)
        return rows, tokens, cut

    async def health(self) -> ServiceHealth:
        """Ready from the first warm batch on."""
        return ServiceHealth(ready=True)
