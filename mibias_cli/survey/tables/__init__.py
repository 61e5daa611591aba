"""Tables beside images: which there are, and which image each row names."""
