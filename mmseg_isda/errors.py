"""Errors that a user can cause; commands print them in one line, without a traceback."""


class UserError(Exception):
    """A mistake whose message says how to mend it: commands print it in one line, without a traceback."""

    status = 2  # exit status of the command


class OptionError(UserError, ValueError):
    """An option or a setting that cannot be what the user meant."""


class MissingPathError(UserError, FileNotFoundError):
    """A file or folder that the command needs and that is not there."""


class ExistingPathError(UserError, FileExistsError):
    """A file of the user's that the command would have to overwrite."""


class CheckpointError(UserError, ValueError):
    """A file that is no checkpoint, is damaged, or holds more than data."""


class DataError(UserError, ValueError):
    """An image or a label that cannot be what a data set needs; the message names the file."""


class InterruptionError(UserError):
    """A run that was interrupted from the keyboard; the message says how to go on."""

    status = 130
