# the shop
