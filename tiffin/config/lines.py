"""Finds the line of a value in a YAML file, for errors that name the line."""

from collections.abc import Sequence

import yaml


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line, counted from 1, of the key at `path`, or None if the text does not have it."""
    node = yaml.compose(text)
    line = None
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if found is None:
                return None
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and str(step).isdigit():
            if int(step) >= len(node.value):
                return None
            node = node.value[int(step)]
            line = node.start_mark.line + 1
        else:
            return None
    return line
