"""The tree of errors, as printed at the top of its module, is the tree of classes."""

import inspect

from cabochon import errors


def tree(of: type[BaseException], indent: int = 0) -> list[str]:
    own = [cls for cls in of.__subclasses__() if cls.__module__ == errors.__name__]
    return [" " * indent + of.__name__, *(line for cls in own for line in tree(cls, indent + 4))]


def test_printed_tree_is_the_tree_of_classes() -> None:
    """
    One look at the page tells what to catch.
    """
    printed = [line for line in (errors.__doc__ or "").splitlines() if line.strip().endswith("Error")]

    assert tree(errors.CabochonError) == printed


def test_every_error_is_exported() -> None:
    """
    `__all__` is complete.
    """
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}

    assert defined == set(errors.__all__)
