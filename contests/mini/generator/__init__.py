"""How the sample contest was written: our own sentences, drawn together by a seeded generator.

``python -m contests.mini.generator`` writes the contest folder again, to the byte. ``drawing.py`` draws
reproducibly, ``particles.py`` puts the right particle after every filled slot, ``topic.py`` composes a
document and its summary from a topic's sentence patterns, ``words.py`` holds the shared word lists, and
``news.py``, ``minutes.py``, ``lectures.py``, ``dialogues.py`` and ``notices.py`` hold the topics.
"""
