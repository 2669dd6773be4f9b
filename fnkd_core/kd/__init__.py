"""The mathematics of distillation on torch tensors.

Nothing here imports torch at run time: tensors bring their own methods, so that forms, the command line
and checks of a configuration know every method without loading it.
"""
