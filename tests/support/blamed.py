"""What a result holds against the function itself, whatever the machine did meanwhile."""

OF_THE_FUNCTION = ("changed", "filled", "cache", "it returns", "is a plan", "go on after it returned")


def blamed(found):
    """The reasons that speak of the function: it changes something, answers from a cache, or returns no result."""
    return [reason for reason in found.reasons if any(words in reason for words in OF_THE_FUNCTION)]
