"""The HTTP API: structs, handlers from struct to struct, and the aiohttp adapter."""
