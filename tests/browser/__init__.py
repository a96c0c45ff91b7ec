"""The pages in a real browser: that they work, under the strictest policy, as people use them."""
