"""From per-item outcomes to intervals, verdicts, limits and gates. Reads tables only, never media or models."""
