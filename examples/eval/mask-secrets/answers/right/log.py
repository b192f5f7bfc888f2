import re


def mask(line):
    return re.sub(r"(?i)\b(password|token)=\S+", r"\1=***", line)
