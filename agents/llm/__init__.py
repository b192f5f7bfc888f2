"""Models: any OpenAI-compatible server, a scripted one for tests, and the scripted demo server."""
