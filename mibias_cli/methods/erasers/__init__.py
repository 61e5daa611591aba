"""Last layers that take attributes out of features after training."""
