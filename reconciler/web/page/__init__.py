"""The pages for people: what was seen becomes sentences and shapes (pure), and the routes that show them."""
