"""A request that cannot be granted, in a form that a page can say in the reader's language."""

from malmoi.errors import UserError


class RefusedError(UserError):
    """A request that is refused.

    code: the kind of refusal, in one word; a page translates it
    param: the field that is at fault; details: figures and names for the page's sentence
    """

    def __init__(self, code: str, message: str, param: str | None = None, **details: object) -> None:
        super().__init__(message)
        self.code, self.param, self.details = code, param, details


def missing(what: str, name: str = "", listed: str = "") -> RefusedError:
    """What does not exist, or is somebody else's: nobody learns which.

    name: what was asked for; listed: where one sees what there is, for those who typed the name
    """
    return RefusedError("not_found", f"{name}: no such {what}; {listed}" if name else f"there is no such {what}")


def invalid(param: str, message: str, **details: object) -> RefusedError:
    return RefusedError("invalid", f"{param}: {message}", param, **details)
