"""Real peers: installed, started, asked."""
