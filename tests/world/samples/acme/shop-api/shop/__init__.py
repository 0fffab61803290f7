"""A small shop: catalogue, cart, prices, receipts. All money is integer cents."""
