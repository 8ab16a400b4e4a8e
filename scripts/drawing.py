"""Parts of a page that are drawn from the code: each between a comment that names it and ``END``."""

from collections.abc import Mapping

END = "\n<!-- end -->"


def drawn(page: str, begin: str, parts: Mapping[str, str]) -> str:
    """The page with its parts made anew. ``begin`` is the comment before a part, with the part's name for ``{name}``.

    Raises:
        ValueError: the page has no place for a part.
    """
    for name, part in parts.items():
        comment = begin.format(name=name)
        head, found, rest = page.partition(comment)
        if not found:
            raise ValueError(f"the page has no place for {name}: {comment.strip()}")
        _, _, tail = rest.partition(END)
        page = head + comment + part + END + tail
    return page
