from slugs import slug

assert slug("a_b/c: d?") == "a-b-c-d", slug("a_b/c: d?")
assert slug("") == ""
