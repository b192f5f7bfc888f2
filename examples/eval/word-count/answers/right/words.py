import re
from collections import Counter


def count(text):
    return dict(Counter(re.findall(r"\w+(?:'\w+)*", text.lower())))
