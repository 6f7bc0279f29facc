"""News briefs: what a town, an office, a company or a club has announced."""

from __future__ import annotations

from contests.mini.generator import news_city, news_field, news_trade
from contests.mini.generator.topic import Topic

TOPICS: tuple[Topic, ...] = (*news_city.TOPICS, *news_field.TOPICS, *news_trade.TOPICS)
