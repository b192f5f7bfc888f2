DEFAULTS = {"port": 8000, "db": {"host": "localhost", "name": "app"}}


def load(said):
    return {**DEFAULTS, **said, "db": {**DEFAULTS["db"], **said.get("db", {})}}
