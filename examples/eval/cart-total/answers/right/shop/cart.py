def total(lines, discount=0):
    whole = sum(price * count for price, count in lines)
    return max(whole - discount, 0) if lines else 0
