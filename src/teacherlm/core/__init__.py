"""What every room shares: errors, keys, atomic files, locks, where the bundled project lies."""
