"""Numbers that say how good an attribution is; `faithfulness` holds the curve-based ones."""
