"""The commands gatewayd and gateway-cli."""

import sys
from importlib.util import find_spec
from pathlib import Path

from cli.version import PACKAGES


def shadowed(root: Path) -> list[str]:
    """Sentences on each top-level module of ours that another distribution's stands in for.

    Our packages have plain names, so in an environment shared with others two may want one name.
    """
    found = []
    for name in ("errors", *PACKAGES):
        spec = find_spec(name)
        origin = None if spec is None or spec.origin is None else Path(spec.origin)
        ours = root / (f"{name}.py" if name == "errors" else f"{name}/__init__.py")
        if origin is None or origin.resolve() != ours.resolve():
            found.append(f"{name} is {origin or 'not there'}, and should be {ours}")
    return found


if _problems := shadowed(Path(__file__).parent.parent):
    # Before anything of ours is loaded: what is loaded instead could do anything.
    sys.exit(
        f"another package stands in for modules of fedimint-gateway: {'; '.join(_problems)}. "
        "Install it in an environment of its own, for example with `uv tool install`."
    )
