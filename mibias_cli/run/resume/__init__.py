"""Whether a resumed run is the run that was begun."""
