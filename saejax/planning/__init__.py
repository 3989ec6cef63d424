"""What a run will take, before it runs: counts on paper, and the run's own programs timed for a moment."""
