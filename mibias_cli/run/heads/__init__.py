"""Bottleneck and task head fitted by themselves, and the λ that they are fitted with."""
