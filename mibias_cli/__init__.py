"""mibias: debias pretrained feature extractors by mutual-information backpropagation, and measure that it worked."""

__version__ = "0.1.0"
__all__ = ["__version__"]
