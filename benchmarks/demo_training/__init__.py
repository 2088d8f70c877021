"""How the demo model was made: its tokenizer, its packing, and the steps of its training.

`python benchmarks/train_demo.py` trains it, `python benchmarks/plant_shortcut.py` plants the
shortcut of "demo-shortcut" in it, and `python benchmarks/demo_accuracy.py` measures both.
"""
