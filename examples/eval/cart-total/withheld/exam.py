from shop.cart import total

assert total([], discount=5) == 0, "nothing costs nothing"
assert total([(2, 1)], discount=5) == 0, "nobody is paid for buying"
