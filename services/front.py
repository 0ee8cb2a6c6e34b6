"""What clients of the entry service meet before BentoML: our routes, and the guard of all routes.

Imported when the entry service builds its app, and in no other process: FastAPI takes 10 MiB and
0.3 s, and every process of a composition imports `services.rag`.
"""

from starlette.types import ASGIApp

from services.bento import request_metrics
from services.hosting import settings
from tiffin.api.app import create_app, guard, is_ours, paths_of, wrap
from tiffin.api.errors import error_response
from tiffin.api.middleware.behind import InOurShape
from tiffin.lifecycle.drain import Drain
from tiffin.transport.dispatcher import Dispatcher

app = create_app()


def before(bentoml_app: ASGIApp, drain: Drain) -> ASGIApp:
    """Everything in front of BentoML's app. The guard is outermost: BentoML's routes need a key."""
    request_metrics.counted.append(paths_of(app))
    dispatcher = Dispatcher(
        InOurShape(bentoml_app),
        front=wrap(app, settings, drain),
        owns=is_ours,
        refuse=error_response,
    )
    return guard(dispatcher, settings=settings)
