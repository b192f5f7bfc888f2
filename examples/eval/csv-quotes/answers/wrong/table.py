def split_line(line):
    return [cell.strip('"') for cell in line.split(",")]
