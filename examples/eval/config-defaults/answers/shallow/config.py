DEFAULTS = {"port": 8000, "db": {"host": "localhost", "name": "app"}}


def load(said):
    found = dict(DEFAULTS)
    for key, value in said.items():
        if isinstance(value, dict):
            found[key].update(value)
        else:
            found[key] = value
    return found
