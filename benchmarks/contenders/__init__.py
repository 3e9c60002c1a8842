"""The contenders: one module for each framework. process.py starts them and gives them turns."""
