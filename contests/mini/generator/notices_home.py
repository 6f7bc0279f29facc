"""Notices to residents, parents, readers and travellers."""

from __future__ import annotations

from contests.mini.generator.topic import Topic

TOPICS: tuple[Topic, ...] = ()
