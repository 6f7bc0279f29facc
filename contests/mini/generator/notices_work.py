"""Notices to customers, staff, students and members."""

from __future__ import annotations

from contests.mini.generator.topic import Topic

TOPICS: tuple[Topic, ...] = ()
