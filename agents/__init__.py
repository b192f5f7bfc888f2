"""The agents: they think (LLM) and act (sandbox), and know nothing of Django, Celery or Redis."""
