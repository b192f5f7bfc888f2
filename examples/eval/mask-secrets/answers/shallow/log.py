def mask(line):
    return line.replace("=abc", "=***").replace("=xyz", "=***")
