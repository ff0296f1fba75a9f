"""The leaderboard as one self-contained static page: `bench leaderboard build`."""
