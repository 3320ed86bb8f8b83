"""Where the engine's shards run. Each executor sees to it that shards of a folder get results, and knows no more."""
