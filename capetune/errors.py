"""What a user may see: bad input, said in one line with its cure."""


class UserError(Exception):
    """Bad input. The message is one line: what is wrong, then what to do. The CLI prints it and exits with 2."""


class Diverged(UserError):
    """A training's loss, weights or scores are no longer finite."""
