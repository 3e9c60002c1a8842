"""The documentation is as long as it may be, and its links lead somewhere."""

import re

import pytest

from tests.conftest import PROJECT

PAGES = [*PROJECT.glob("*.md"), *PROJECT.glob("*/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target, anchor in re.findall(
        r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text("utf-8")
    ):
        other = page.parent / target if target else page
        assert other.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text("utf-8"), re.MULTILINE)
            assert anchor in [
                re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings
            ], (target, anchor)


def test_the_readme_is_a_door_not_a_brochure():
    words = {page: len(page.read_text("utf-8").split()) for page in PAGES}
    assert words[PROJECT / "README.md"] <= 1_000
    assert sum(words[page] for page in words if page.parent.name == "docs") <= 7_000
