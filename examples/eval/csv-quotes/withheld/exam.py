from table import split_line

assert split_line("a,,c") == ["a", "", "c"], "an empty cell is a cell"
assert split_line('"he said ""no""",x') == ['he said "no"', "x"]
