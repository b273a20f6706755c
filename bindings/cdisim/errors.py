"""What goes wrong."""


class InputError(ValueError):
    """The input is wrong: an experiment, a file that it names, a plan. The text says where and what would be valid."""


class SimulationError(RuntimeError):
    """The program failed, though the input may be right; the text names the signal where one ended it."""
