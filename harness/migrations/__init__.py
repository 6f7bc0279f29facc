"""The board's schema, version by version. ``Board.open`` brings a database up to the newest one."""
