from log import mask

assert "hunter2" not in mask("a password=hunter2 token=t1"), mask("a password=hunter2 token=t1")
assert "t1" not in mask("a password=hunter2 token=t1")
