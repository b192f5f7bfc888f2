from collections import Counter


def count(text):
    for sign in ".,!":
        text = text.replace(sign, "")
    return dict(Counter(text.lower().split()))
