"""Images in tar files: which shards a path means, what they hold, and where."""
