"""The embedded base model: a small GPT-J that has read the generator's documents, and never a summary.

``README.md`` beside this file is its model card; ``pretrain.py`` makes it again.
"""
