"""The benchmark suite of libpktring: paired measurements against every peer."""
