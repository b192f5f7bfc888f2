def mask(line):
    return line.replace("password=abc", "password=***")
