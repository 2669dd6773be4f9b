"""FNKD Lab: feature normalized knowledge distillation, as a package and a dashboard."""

__version__ = "0.1.0"
