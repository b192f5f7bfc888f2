def mask(line):
    return line
