"""News briefs from companies, laboratories, stages and sports grounds."""

from __future__ import annotations

from contests.mini.generator.topic import Topic

TOPICS: tuple[Topic, ...] = ()
