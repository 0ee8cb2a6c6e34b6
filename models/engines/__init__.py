"""Engines run weights. Each has its own file; `protocol.py` says what an engine must do."""

import sys

# `import openvino` imports its converter too, unless that is missing. It takes as long as all else,
# and tells Google Analytics of every import by a user who has not opted out.
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
