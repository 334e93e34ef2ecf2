"""Hyperparameter search and training for category-agnostic pose estimation."""

__version__ = "0.1.0"
