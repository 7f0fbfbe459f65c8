"""Parts of a suite: what a run has measured so far, on disk, resumed and merged."""
