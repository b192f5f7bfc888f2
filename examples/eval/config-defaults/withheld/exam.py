from config import DEFAULTS, load

load({"db": {"name": "other"}})
assert load({})["db"]["name"] == "app", "one file changes the defaults of the next"
assert DEFAULTS["db"]["name"] == "app"
