"""`python -m cli.state_diagrams > docs/state-machines.md` draws the gateway's machines from their tables."""

from engine.diagram import page
from statemachines import ALL_MACHINES

if __name__ == "__main__":
    print(page(ALL_MACHINES), end="")
