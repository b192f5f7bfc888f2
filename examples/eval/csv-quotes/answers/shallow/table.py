import re


def split_line(line):
    return [cell.strip('"') for cell in re.findall(r'"[^"]*"|[^,]+', line)]
