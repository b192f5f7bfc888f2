import re


def parse(text):
    found = re.findall(r"(\d+)([hms])", text)
    if not found:
        raise ValueError(text)
    return sum(int(n) * {"h": 3600, "m": 60, "s": 1}[u] for n, u in found)
