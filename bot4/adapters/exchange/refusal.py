"""What the venue says no with: a code, a text and an HTTP status, as its documentation lists them."""


class Refused(Exception):  # noqa: N818 - an answer, not an accident
    """A request is answered with an error; nothing of it has happened."""

    def __init__(self, code: int, text: str, status: int = 400, retry_after_s: int = 0, data: object = None) -> None:
        """`retry_after_s` > 0 is told in a header; `data` is what a partial failure did (cancelReplace)."""
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text
        self.status = status
        self.retry_after_s = retry_after_s
        self.data = data

    def body(self) -> dict:
        """The JSON of the answer."""
        answer: dict = {"code": self.code, "msg": self.text}
        if self.data is not None:
            answer["data"] = self.data
        return answer


def missing(name: str) -> Refused:
    """A parameter that has to be there is not."""
    return Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def one_of(first: str, second: str) -> Refused:
    """One of two parameters has to be there."""
    return Refused(-1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!")


def not_required(name: str) -> Refused:
    """A parameter that does not belong to this kind of request."""
    return Refused(-1106, f"Parameter '{name}' sent when not required.")


def not_valid(name: str) -> Refused:
    """A parameter whose value means nothing."""
    return Refused(-1130, f"Data sent for parameter '{name}' is not valid.")


def filter_failure(name: str) -> Refused:
    """A filter of the symbol says no."""
    return Refused(-1013, f"Filter failure: {name}")


def order_refused(text: str) -> Refused:
    """The matching engine does not take an order."""
    return Refused(-2010, text)


UNKNOWN_ORDER = "Unknown order sent."
NO_BALANCE = "Account has insufficient balance for requested action."
