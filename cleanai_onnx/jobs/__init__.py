"""What a user asks for in one call: analyse, learn, explain, explore, inspect, compare, combine.

Each job ties the rooms below together. `cleanai_onnx` names the public ones; the modules here are
imported by themselves, so that a command loads only what it needs.
"""
