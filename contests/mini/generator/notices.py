"""Notices: what people are told on a board, in a letter home or in a message from an office."""

from __future__ import annotations

from contests.mini.generator import notices_home, notices_places, notices_work
from contests.mini.generator.topic import Topic

TOPICS: tuple[Topic, ...] = (*notices_home.TOPICS, *notices_places.TOPICS, *notices_work.TOPICS)
