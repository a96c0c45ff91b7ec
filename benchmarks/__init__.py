"""How fast the house is, told as ratios against something that stands beside it."""
