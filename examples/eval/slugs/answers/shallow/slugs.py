def slug(title):
    return "-".join(title.lower().replace(",", "").replace("!", "").split())
