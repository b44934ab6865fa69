"""Speed, as ratios measured in one run, against the figures of `docs/figures.md`."""
