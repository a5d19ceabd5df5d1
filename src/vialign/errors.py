"""The one exception a user may cause: it carries a single readable line and never shows a traceback."""


class UserError(Exception):
    """Something in the input, the config or the environment is wrong, and the message says how to mend it.

    The message names what was read (file, row, field), what is wrong with it and what to do.
    """
